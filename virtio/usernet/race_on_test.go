//go:build race

package usernet

const raceEnabled = true
