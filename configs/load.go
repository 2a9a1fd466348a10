package configs

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"waybill/internal/fault"
)

const envPrefix = "WAYBILL_"

// Load reads the configuration: flags over the environment over the file over the defaults. file is a path, empty for the
// one that WAYBILL_CONFIG names, if it names one. env has the form of os.Environ; a variable that is empty counts as not
// set. flags maps names as in Options to what was given on the command line, and holds only what was given.
// Every value is checked where it stands, also one that a later source overrides.
//
// Error: invalid_argument, one line, that names the key, its source (file:line, variable or flag) and the right form;
// not_found for a file that is not there.
func Load(file string, env []string, flags map[string]string) (Config, error) {
	vars := variables(env)
	c := defaults(func(name string) string { return vars[name] })
	if file == "" {
		file = vars[envPrefix+"CONFIG"]
	}
	if file != "" {
		if err := c.readFile(file); err != nil {
			return Config{}, err
		}
	}
	if err := c.readEnv(vars); err != nil {
		return Config{}, err
	}
	for _, name := range slices.Sorted(maps.Keys(flags)) {
		o, ok := lookupOption(name)
		if !ok || o.Name != name {
			return Config{}, unknown(name, "flag --"+name, func(o Option) string { return "--" + o.Name })
		}
		if err := c.assign(o, flags[name], "flag --"+name); err != nil {
			return Config{}, err
		}
	}
	if err := c.fits(); err != nil {
		return Config{}, err
	}
	return c, nil
}

// variables turns os.Environ's form into a map; the last of several wins, as it does for a process.
func variables(env []string) map[string]string {
	vars := make(map[string]string, len(env))
	for _, pair := range env {
		if name, value, ok := strings.Cut(pair, "="); ok {
			vars[name] = value
		}
	}
	return vars
}

// notOurs are variables that begin with the prefix and configure something else: the commands that ask a running node.
var notOurs = []string{"WAYBILL_CONFIG", "WAYBILL_SERVER", "WAYBILL_TIMEOUT", "WAYBILL_OUTPUT"}

// injected matches the variables that Kubernetes gives every container beside a Service named waybill or waybill-….
var injected = regexp.MustCompile(`^WAYBILL(_.+)?_(SERVICE_(HOST|PORT(_.+)?)|PORT(_[0-9]+_(TCP|UDP|SCTP)(_.+)?)?)$`)

func (c *Config) readEnv(vars map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		key, ours := strings.CutPrefix(name, envPrefix)
		if !ours || vars[name] == "" || slices.Contains(notOurs, name) || injected.MatchString(name) || strings.HasPrefix(name, SecretEnvPrefix) {
			continue
		}
		o, ok := lookupOption(strings.ToLower(key))
		if !ok || o.Env() != name {
			return unknown(strings.ToLower(key), "environment variable "+name, Option.Env)
		}
		if err := c.assign(o, vars[name], "environment variable "+name); err != nil {
			return err
		}
	}
	return nil
}

// assign sets one value; source is named in the error.
func (c *Config) assign(o Option, text, source string) error {
	if err := o.set(c, text); err != nil {
		return fault.Invalid(o.Key(), "%s %s (%s): %s", o.Key(), o.show(text), source, err)
	}
	return nil
}

// unknown is the error for a key that nobody declared. It proposes the nearest one, spelled as its source spells it.
func unknown(key, source string, spell func(Option) string) error {
	best, distance := "", 4
	for _, o := range options {
		if d := editDistance(strings.ReplaceAll(key, "-", "_"), o.Key()); d < distance {
			best, distance = spell(o), d
		}
	}
	if best != "" {
		return fault.Invalid(key, "%.60q (%s) is no key of the configuration; did you mean %s?", key, source, best)
	}
	return fault.Invalid(key, "%.60q (%s) is no key of the configuration; `waybill serve --help` lists them", key, source)
}

// editDistance counts the bytes to insert, delete or replace that turn a into b.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
