package configs

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/go-json-experiment/json"

	"waybill/internal/fault"
)

func TestSecretNames(t *testing.T) {
	s, _ := Lookup(PaymentGatewayKey)
	for _, good := range []string{``, `file:/run/secrets/gateway`, `env:WAYBILL_SECRET_GATEWAY`, `env:WAYBILL_SECRET_A1`} {
		if _, err := s.Check([]byte(`"` + good + `"`)); err != nil {
			t.Errorf("%q is refused: %v", good, err)
		}
	}
	for _, bad := range []string{`sk_live_abcdef`, `file:`, `file:gateway`, `file:/a/../etc/passwd`, `file:/a\u0000`, `env:`, `env:HOME`, `env:WAYBILL_SECRET_`,
		`env:WAYBILL_SECRET_a`, `env:WAYBILL_SECRET_A=B`, ` env:WAYBILL_SECRET_A`, `vault:x`} {
		_, err := s.Check([]byte(`"` + bad + `"`))
		if fault.CodeOf(err) != fault.InvalidArgument || fault.From(err).Field != "value" {
			t.Errorf("%q is taken: %v", bad, err)
		} else if strings.Contains(err.Error(), "sk_live") {
			t.Errorf("the refusal repeats what may be the secret itself: %v", err)
		}
	}
}

func TestSecretIsReadWhenItIsUsed(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "key")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l := NewLive()
	if got, err := l.Secret(PaymentGatewayKey); err != nil || got.Reveal() != "" {
		t.Errorf("where none is named: %q, %v", got.Reveal(), err)
	}
	write("test_one\n")
	if err := l.Set(PaymentGatewayKey, []byte(`"file:`+file+`"`)); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"test_one", "test_two"} { // a file that is replaced needs no new setting
		write(text + "\n")
		if got, err := l.Secret(PaymentGatewayKey); err != nil || got.Reveal() != text {
			t.Errorf("the file holds %s: %q, %v", text, got.Reveal(), err)
		}
	}
	for name, text := range map[string]string{"empty": "", "blank": " \n", "two lines": "a\nb", "binary": "\x00\x01", "too long": strings.Repeat("x", maxSecret+1), "not ASCII": "schlüssel"} {
		write(text)
		_, err := l.Secret(PaymentGatewayKey)
		if fault.CodeOf(err) != fault.FailedPrecondition || text != "" && strings.TrimSpace(text) != "" && strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", name, err)
		}
	}
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	s, _ := Lookup(PaymentGatewayKey)
	for _, nowhere := range []string{"file:" + pipe, "file:" + dir, "file:" + dir + "/none", "file:/dev/zero", "env:WAYBILL_SECRET_NOT_THERE"} {
		err := s.CheckSecret([]byte(`"` + nowhere + `"`))
		if f := fault.From(err); f == nil || f.Code != fault.FailedPrecondition || f.Field != "value" || strings.Contains(f.Message, "no such file") {
			t.Errorf("%s: %v", nowhere, err)
		}
	}
	t.Setenv("WAYBILL_SECRET_GATEWAY", "test_env")
	if err := s.CheckSecret([]byte(`"env:WAYBILL_SECRET_GATEWAY"`)); err != nil {
		t.Error(err)
	}
	if _, err := Load("", []string{"WAYBILL_SECRET_GATEWAY=test_env"}, nil); err != nil {
		t.Errorf("a secret in the environment keeps the program from starting: %v", err)
	}
}

func TestSecretHidesItself(t *testing.T) {
	s := Secret{"test_hidden"}
	text, err := json.Marshal(map[string]any{"a": s, "b": &s})
	if err != nil {
		t.Error(err)
	}
	for _, shown := range []string{string(text), fmt.Sprintf("%v %+v %#v %s %q %x", s, s, s, s, s, s), fmt.Sprint(&s), fmt.Sprint([]Secret{s})} {
		if strings.Contains(shown, "hidden") || strings.Contains(shown, fmt.Sprintf("%x", "hidden")) {
			t.Errorf("the secret shows: %s", shown)
		}
	}
}
