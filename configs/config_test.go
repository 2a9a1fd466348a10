package configs

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"waybill/internal/fault"
	"waybill/subjects"
)

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "waybill.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestPrecedence sets one key in every source and takes the sources away one by one.
func TestPrecedence(t *testing.T) {
	file := write(t, "site: from-file\n")
	env := []string{"WAYBILL_SITE=from-env"}
	flags := map[string]string{"site": "from-flag"}
	for _, c := range []struct {
		want  subjects.Site
		file  string
		env   []string
		flags map[string]string
	}{
		{"from-flag", file, env, flags},
		{"from-env", file, env, nil},
		{"from-file", file, nil, nil},
		{"from-file", "", []string{"WAYBILL_CONFIG=" + file}, nil},
		{"from-file", file, []string{"WAYBILL_SITE="}, nil}, // an empty variable is not set
		{"local", "", nil, nil},
	} {
		got, err := Load(c.file, c.env, c.flags)
		if err != nil || got.Site != c.want {
			t.Errorf("Load(%q, %q, %v).Site = %q, %v; want %q", c.file, c.env, c.flags, got.Site, err, c.want)
		}
	}
}

// TestEveryOptionFromEverySource reads a value that is not the default for each option, from each source.
func TestEveryOptionFromEverySource(t *testing.T) {
	other := map[string]string{"data": "/srv/waybill", "site": "kiosk-7",
		"nats-addr": "127.0.0.1:0", "http-addr": "[::1]:81", "etcd-addr": "localhost:1",
		"nats-socket": "/run/waybill/nats.sock", "nats-ws-addr": "127.0.0.1:4223", "nats-ws-origins": "https://a,http://b:3000", "nats-poll": "10us",
		"nats-url": "nats://a:4222,tls://b:4222", "etcd-endpoints": "http://a:2379,b:2379", "creds": "/etc/waybill.creds", "join": "/srv/store",
		"services": "order,payment", "durability": "fast", "log-level": "debug", "log-format": "json", "tls-cert": "c.pem", "tls-key": "k.pem"}
	companion := map[string]string{"tls-cert": "tls-key", "tls-key": "tls-cert"}
	for _, o := range Options() {
		value, ok := other[o.Name]
		if !ok {
			t.Errorf("option %s has no value in this test", o.Name)
			continue
		}
		given := map[string]string{o.Name: value}
		if name := companion[o.Name]; name != "" {
			given[name] = other[name]
		}
		file := ""
		var env []string
		for name, v := range given {
			g, _ := lookupOption(name)
			file += g.Key() + ": \"" + v + "\"\n"
			env = append(env, g.Env()+"="+v)
		}
		hyphens := strings.ReplaceAll(file, o.Key(), o.Name)
		for source, load := range map[string]func() (Config, error){
			"file":              func() (Config, error) { return Load(write(t, file), nil, nil) },
			"file with hyphens": func() (Config, error) { return Load(write(t, hyphens), nil, nil) },
			"environment":       func() (Config, error) { return Load("", env, nil) },
			"flag":              func() (Config, error) { return Load("", nil, given) },
		} {
			c, err := load()
			if err != nil {
				t.Errorf("%s from %s: %v", o.Name, source, err)
			} else if got := o.text(&c); got != value {
				t.Errorf("%s from %s = %q, want %q", o.Name, source, got, value)
			} else if err := c.Validate(); err != nil {
				t.Errorf("%s from %s: Load took what Validate refuses: %v", o.Name, source, err)
			}
		}
	}
}

func TestListsInYAML(t *testing.T) {
	for _, text := range []string{
		"services: order, payment",
		"services: [order, payment]",
		"services:\n  - order\n  - payment\n",
		"# hi\n\"services\": 'order,payment' # ho\n",
	} {
		c, err := Load(write(t, text), nil, nil)
		if err != nil || !slices.Equal(c.Services, []subjects.Service{subjects.Order, subjects.Payment}) {
			t.Errorf("%q gives %v, %v", text, c.Services, err)
		}
	}
}

// TestBadFiles wants for each bad file one line that names the place, the key and the right form.
func TestBadFiles(t *testing.T) {
	for text, want := range map[string]string{
		"nats_adr: a:1":                  `"nats_adr" (waybill.yaml:1) is no key of the configuration; did you mean nats_addr?`,
		"wholly: wrong":                  "(waybill.yaml:1) is no key of the configuration; `waybill serve --help` lists them",
		"site: local\n\nnats_addr: 4222": `nats_addr (waybill.yaml:3) takes text: put it between quotes, "4222"`,
		"site: 1.5":                      "site (waybill.yaml:1) takes text",
		"log_level: true":                "log_level (waybill.yaml:1) takes text",
		"site:":                          "site (waybill.yaml:1) has no value",
		"site: ~":                        "site (waybill.yaml:1) has no value",
		"site: [a, b]":                   "site (waybill.yaml:1) takes one value, not a list",
		"site: {a: b}":                   "site (waybill.yaml:1) takes one plain text",
		"services: {a: b}":               "services (waybill.yaml:1) takes a list",
		"services: [1]":                  "services (waybill.yaml:1) takes a list of plain texts",
		"services: [[order]]":            "services (waybill.yaml:1) takes a list of plain texts",
		"services: [order, till]":        `services "order,till" (waybill.yaml:1): "till" is no service; there are journal`,
		"site: a\nsite: b":               "waybill.yaml:2 is not YAML: mapping key \"site\" already defined",
		"nats_addr: 127.0.0.1:1\nnats-addr: [a, b]": "nats_addr (waybill.yaml:2) stands in the file twice",
		"site: a\n---\nsite: b":                     "holds more than one YAML document",
		"- site: a":                                 "the file must be lines of `key: value`",
		"just words":                                "the file must be lines of `key: value`",
		"site: [":                                   "is not YAML",
		"site: \"open":                              "is not YAML",
		"site: &anchor a":                           "site (waybill.yaml:1) takes one plain text",
		"<<: {site: a}":                             "is no key of the configuration",
		"durability: slow":                          `durability "slow" (waybill.yaml:1): it must be one of strict, fast`,
		"http_addr: 0.0.0.0:8080":                   `http_addr "0.0.0.0:8080" can be reached from other machines: it knows no users`,
		"etcd_endpoints: [http://user:secret@a:b]":  "etcd_endpoints (value not shown) (waybill.yaml:1): it must be addresses",
	} {
		path := write(t, text)
		_, err := Load(path, nil, nil)
		checkRefusal(t, text, err, want, filepath.Dir(path)+"/")
	}
}

func checkRefusal(t *testing.T, what string, err error, want, strip string) {
	t.Helper()
	var f *fault.Error
	if !errors.As(err, &f) || f.Code != fault.InvalidArgument {
		t.Errorf("%q: %v, want an invalid_argument", what, err)
		return
	}
	message := strings.ReplaceAll(f.Message, strip, "")
	if !strings.Contains(message, want) || strings.Contains(message, "\n") || f.Field == "" {
		t.Errorf("%q is refused with\n%q (field %q), want a line with\n%q", what, message, f.Field, want)
	}
	if strings.Contains(message, "secret") {
		t.Errorf("%q: the refusal shows a secret: %s", what, message)
	}
}

// TestBadValues tries bad values for every option, by flag and by variable.
func TestBadValues(t *testing.T) {
	bad := map[string][]string{
		"data": {""},
		"site": {"", "Shop", "-a", "a.b", strings.Repeat("a", 33), "ümlaut"},
		"nats-addr": {"", "4222", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:x",
			"127.0.0.1:04222", "::1:80", "nats://127.0.0.1:4222"},
		"nats-socket":     {strings.Repeat("a", 104), "a\x00b"},
		"nats-ws-addr":    {"4223", "ws://127.0.0.1:4223"},
		"nats-ws-origins": {"shop.example", "https://shop.example/", "ws://a", "https://a,b", "null", "*"},
		"nats-poll":       {"", "50", "-1us", "2ms"},
		"http-addr":       {"", "a b:1"},
		"etcd-addr":       {"", "127.0.0.1:1:2"},
		"nats-url":        {"a:4222", "http://a:4222", "nats://", "nats://a:4222,b", "nats://secret@a:x"},
		"etcd-endpoints":  {"a", "ftp://a:1", "http://a", "http://:1", "http://a:1/path", "http://a:1,b"},
		"services":        {"", " , ", "order,order", "Order", "order,nothing"},
		"durability":      {"", "Strict", "none"},
		"log-level":       {"", "loud", "INFO", "fatal"},
		"log-format":      {"", "xml"},
		"creds":           nil, // any path: whether it can be read is seen when it is read
		"join":            nil,
		"tls-cert":        nil,
		"tls-key":         nil,
	}
	for _, o := range Options() {
		values, ok := bad[o.Name]
		if !ok {
			t.Errorf("option %s has no bad values in this test", o.Name)
		}
		for _, v := range values {
			_, err := Load("", nil, map[string]string{o.Name: v})
			checkRefusal(t, o.Name+"="+v, err, "(flag --"+o.Name+"): ", "")
			if v != "" {
				_, err = Load("", []string{o.Env() + "=" + v}, nil)
				checkRefusal(t, o.Env()+"="+v, err, "(environment variable "+o.Env()+"): ", "")
			}
			c := Default()
			setAnyway(t, o, &c, v)
			if err := c.Validate(); fault.CodeOf(err) != fault.InvalidArgument {
				t.Errorf("Validate takes %s = %q: %v", o.Name, v, err)
			}
		}
	}
}

// setAnyway is what code that builds a Config by hand may do.
func setAnyway(t *testing.T, o Option, c *Config, text string) {
	o.check = anything
	if err := o.set(c, text); err != nil {
		t.Fatal(err) // anything refuses nothing
	}
}

func TestUnknownKeys(t *testing.T) {
	_, err := Load("", nil, map[string]string{"nats-adr": "x"})
	checkRefusal(t, "flag", err, `"nats-adr" (flag --nats-adr) is no key of the configuration; did you mean --nats-addr?`, "")
	_, err = Load("", []string{"WAYBILL_SITES=x"}, nil)
	checkRefusal(t, "variable", err, `(environment variable WAYBILL_SITES) is no key of the configuration; did you mean WAYBILL_SITE?`, "")
	_, err = Load("", []string{"WAYBILL_nats_addr=x"}, nil)
	checkRefusal(t, "variable in lower case", err, "did you mean WAYBILL_NATS_ADDR?", "")

	// What other programs put into the environment is none of ours.
	_, err = Load("", []string{"WAYBILL_SERVER=nats://x", "WAYBILL_TIMEOUT=5s", "WAYBILL_OUTPUT=json",
		"WAYBILL_SERVICE_HOST=10.0.0.1", "WAYBILL_SERVICE_PORT=4222", "WAYBILL_SERVICE_PORT_NATS=4222", "WAYBILL_PORT=tcp://10.0.0.1:4222",
		"WAYBILL_PORT_4222_TCP=tcp://10.0.0.1:4222", "WAYBILL_PORT_4222_TCP_PROTO=tcp",
		"WAYBILL_HTTP_SERVICE_HOST=10.0.0.1", "WAYBILLS=1", "HOME=/root", "malformed"}, nil)
	if err != nil {
		t.Errorf("variables of others are refused: %v", err)
	}
}

func TestNoOptionIsTakenForKubernetes(t *testing.T) {
	for _, o := range Options() {
		if injected.MatchString(o.Env()) {
			t.Errorf("%s would be ignored", o.Env())
		}
	}
}

func TestMissingFile(t *testing.T) {
	_, err := Load(filepath.Join(t.TempDir(), "no.yaml"), nil, nil)
	if fault.CodeOf(err) != fault.NotFound {
		t.Errorf("a missing file gives %v, want not_found", err)
	}
	if _, err := Load(t.TempDir(), nil, nil); fault.CodeOf(err) != fault.InvalidArgument {
		t.Errorf("a directory gives %v, want invalid_argument", err)
	}
	if _, err := Load(write(t, strings.Repeat("#", maxFile+1)), nil, nil); fault.CodeOf(err) != fault.InvalidArgument {
		t.Errorf("a huge file gives %v, want invalid_argument", err)
	}
}

func TestWhatDoesNotFitTogether(t *testing.T) {
	for want, flags := range map[string]map[string]string{
		"join and nats_url exclude each other":       {"join": "/a", "nats-url": "nats://a:1"},
		"join and etcd_endpoints exclude each other": {"join": "/a", "etcd-endpoints": "a:1"},
		"tls_cert is set and tls_key is not":         {"tls-cert": "c"},
		"tls_key is set and tls_cert is not":         {"tls-key": "k"},
		`nats_addr ":4222" can be reached`:           {"nats-addr": ":4222"},
		`nats_ws_addr ":4223" can be reached`:        {"nats-ws-addr": ":4223"},
		`etcd_addr "10.0.0.1:2379" can be reached`:   {"etcd-addr": "10.0.0.1:2379"},
		`http_addr "shop.example:80" can be reached`: {"http-addr": "shop.example:80", "join": "/a"},
	} {
		_, err := Load("", nil, flags)
		checkRefusal(t, want, err, want, "")
	}
	for _, flags := range []map[string]string{
		{"nats-addr": ":4222", "tls-cert": "c", "tls-key": "k"},
		{"nats-ws-addr": ":4223", "tls-cert": "c", "tls-key": "k"},
		{"nats-addr": ":4222", "nats-url": "nats://a:1"}, // nothing listens there
		{"etcd-addr": ":2379", "etcd-endpoints": "a:1"},
		{"nats-addr": ":4222", "etcd-addr": ":2379", "join": "/a"},
		{"http-addr": "[::1]:0", "nats-addr": "127.9.9.9:0"},
	} {
		if _, err := Load("", nil, flags); err != nil {
			t.Errorf("%v is refused: %v", flags, err)
		}
	}
}

func TestDefaultData(t *testing.T) {
	for _, c := range []struct {
		want string
		env  []string
	}{
		{"/x/waybill", []string{"XDG_DATA_HOME=/x", "HOME=/h"}},
		{"/h/.local/share/waybill", []string{"HOME=/h"}},
		{"/h/.local/share/waybill", []string{"XDG_DATA_HOME=relative", "HOME=/h"}},
		{"waybill-data", nil},
	} {
		if got, err := Load("", c.env, nil); err != nil || got.Data != c.want {
			t.Errorf("Load with %q: Data = %q, %v; want %q", c.env, got.Data, err, c.want)
		}
	}
	if err := Default().Validate(); err != nil {
		t.Errorf("the default is refused: %v", err)
	}
}

// TestDefaultsAreDocumented keeps Options' defaults equal to those of Default.
func TestDefaultsAreDocumented(t *testing.T) {
	c := Default()
	for _, o := range Options() {
		if got := o.text(&c); got != o.Default && !strings.HasPrefix(o.Default, "<") {
			t.Errorf("%s: the default is %q and documented as %q", o.Name, got, o.Default)
		}
		if o.Help == "" {
			t.Errorf("%s has no help", o.Name)
		}
	}
}

// TestEveryFieldHasAnOption finds a field of Config that could not be set.
func TestEveryFieldHasAnOption(t *testing.T) {
	var c Config
	v := reflect.ValueOf(&c).Elem()
	for i := range v.NumField() {
		field := v.Field(i).Addr().Pointer()
		if !slices.ContainsFunc(Options(), func(o Option) bool { return reflect.ValueOf(o.field(&c)).Pointer() == field }) {
			t.Errorf("no option sets Config.%s", v.Type().Field(i).Name)
		}
	}
}

// TestExample keeps the example file true: it is what Example says, and with every key switched on it is the default.
func TestExample(t *testing.T) {
	const path = "waybill.example.yaml"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(text) != Example() {
		t.Errorf("%s is not what Example() returns:\n%s", path, Example())
	}
	if c, err := Load(path, nil, nil); err != nil || !reflect.DeepEqual(c, defaults(func(string) string { return "" })) {
		t.Errorf("the example as it is gives %+v, %v", c, err)
	}
	on := regexp.MustCompile(`(?m)^# ([a-z_]+: )`).ReplaceAllString(string(text), "$1")
	c, err := Load(write(t, on), nil, nil)
	if want := defaults(func(string) string { return "" }); err != nil || !reflect.DeepEqual(c, want) {
		t.Errorf("the example with every key gives\n%+v, %v, want\n%+v", c, err, want)
	}
	keys := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^([a-z_]+): `).FindAllStringSubmatch(on, -1) {
		keys[m[1]] = true
	}
	for _, o := range Options() {
		delete(keys, o.Key())
		if !strings.Contains(on, "\n"+o.Key()+": ") {
			t.Errorf("the example lacks %s", o.Key())
		}
	}
	if len(keys) > 0 {
		t.Errorf("the example has more: %v", slices.Collect(maps.Keys(keys)))
	}
}

func FuzzFile(f *testing.F) {
	f.Add("site: local\nservices: [order]\n")
	f.Add("a: &b [*b]")
	f.Fuzz(func(t *testing.T, text string) {
		c := Default()
		if err := c.readYAML("f", []byte(text)); err == nil {
			for _, o := range options {
				if err := o.check(o.text(&c)); err != nil {
					t.Errorf("%q was taken and gives %s = %q: %v", text, o.Name, o.text(&c), err)
				}
			}
		} else if strings.Contains(fault.From(err).Message, "\n") {
			t.Errorf("%q: the refusal has several lines: %q", text, err)
		}
	})
}
