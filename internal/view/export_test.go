package view

// BootMark is for the tests of what a start checks.
var BootMark = bootMark
