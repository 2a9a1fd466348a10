package configs

import (
	"fmt"
	"strings"
)

//go:generate go test . -run TestSettingsPage -update

const pageHead = `# Live settings

Generated from their declarations in ` + "`configs/settings.go`" + ` by ` + "`go generate ./configs`" + `.

A live setting is changed with ` + "`waybill config set KEY VALUE`" + ` and acts within a second in every process of the site, without a
restart. ` + "`config list`" + ` shows the values, ` + "`config history`" + ` what they were, ` + "`config rollback`" + ` brings one back, ` + "`config watch`" + ` shows
changes as they come. A setting of the type secret names where the secret stands and never is the secret: ` + "`file:/run/secrets/gateway`" + `
(an absolute path) or ` + "`env:" + SecretEnvPrefix + "GATEWAY`" + ` (a variable of that prefix).
`

// SettingsPage is docs/settings.md: every live setting, by the first part of its key.
func SettingsPage() string {
	var b strings.Builder
	b.WriteString(pageHead)
	area := ""
	for _, s := range settings {
		if first, _, _ := strings.Cut(s.Key, "."); first != area {
			area = first
			fmt.Fprintf(&b, "\n## %s\n| key | takes | default | what it is | a change affects |\n|---|---|---|---|---|\n", area)
		}
		fmt.Fprintf(&b, "| `%s` | %s | `%s` | %s | %s |\n", s.Key, s.takes(), strings.Trim(s.Default, `"`), cell(s.Description), cell(s.Affects))
	}
	return strings.ReplaceAll(b.String(), "``", "none")
}

// takes is what a good value is, in few words.
func (s Setting) takes() string {
	switch s.Type {
	case TypeChoice:
		return "`" + strings.Join(s.Choices, "`, `") + "`"
	case TypeDuration:
		return "duration" + s.bounds(showDuration)
	case TypeInteger:
		return s.Unit + s.bounds(showAny)
	}
	return s.Type
}

func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }
