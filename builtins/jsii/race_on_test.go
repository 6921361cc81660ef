//go:build race

package jsii

const raceDetector = true
