// Package deb reads Debian binary packages as deb(5) describes them: an ar
// archive of debian-binary, control.tar and data.tar, the latter compressed
// with xz, zstd or gzip, or not at all. Nothing is installed and no other
// program is needed.
//
// A package is not trusted: names cannot leave the folder that files are
// extracted to, and Limits bounds what one package may unpack to.
package deb
