package configs

import (
	"fmt"
	"strings"
)

const exampleHead = `# Every key of Waybill's static configuration, with its default. Take away the # before a key to set it.
# A flag (--nats-addr) goes before its variable in the environment (WAYBILL_NATS_ADDR), which goes before this file.
# What may change while a node runs is a live setting: see "waybill config list".
`

// Example is the example file: every key, commented out, with its help and its default.
func Example() string {
	var b strings.Builder
	b.WriteString(exampleHead)
	for _, o := range options {
		value := o.Default
		switch {
		case o.Type == TypeList:
			value = "[" + strings.ReplaceAll(value, ",", ", ") + "]"
		case o.Name == "data":
			value = "waybill-data"
		case value == "", strings.HasPrefix(value, "<"):
			value = `""`
		}
		fmt.Fprintf(&b, "\n# %s\n", o.Help)
		if strings.HasPrefix(o.Default, "<") {
			fmt.Fprintf(&b, "# Default: %s\n", strings.Trim(o.Default, "<>"))
		}
		fmt.Fprintf(&b, "# %s: %s\n", o.Key(), value)
	}
	return b.String()
}
