// Package faults breaks a running site from outside: its power, its process, its disk, its time slices. It has tests only.
// Each starts the program as an operator would, has plain customers place orders, lets the fault come, and then looks at
// what is left: at the journal against the payment gateway's own books, and at both against what the customers were told.
// What needs a tool or a right that the machine does not give is skipped, and says so; with -faults.all it fails.
package faults
