// Package images holds the recipes of what a guest is started from: Debian's
// kernel, an initramfs made of our own agent, and the command line for both.
//
// Everything that is downloaded or built is kept below the user's cache folder
// (os.UserCacheDir, "doorbell"):
//
//	packages/NAME_VERSION_ARCH.deb        as downloaded and verified by apt
//	kernels/NAME_VERSION_ARCH+RECIPE/     what is unpacked of it
//	flavours/rt/{packages,kernels}/       the same of the kernel with PREEMPT_RT
//	suites/SUITE/...                      the same of another suite of Debian
//	headers/RELEASE/                      what a module is built with, for a kernel of that release
//	initramfs/HASH.cpio                   built, named by the hash of its inputs
//	apt/                                  apt's own state, while downloading
//
// An entry is complete or not there: it is made under a temporary name and
// renamed. Once a kernel is cached nothing here uses the network; to get a
// newer kernel, remove the folders packages and kernels.
package images
