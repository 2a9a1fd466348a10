//go:build race

package view_test

const underRace = true
