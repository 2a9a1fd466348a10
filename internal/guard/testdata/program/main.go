// The program is what a test is not: it tries to switch a guard off.
package main

import (
	"fmt"

	"waybill/internal/guard"
)

func main() {
	fmt.Println("on:", !guard.Off(guard.Barrier))
	guard.SwitchOff(guard.Barrier)
	fmt.Println("off:", guard.Off(guard.Barrier))
}
