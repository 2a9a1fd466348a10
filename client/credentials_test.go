package client

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
)

func newUser() (seed, public string) {
	pair, err := nkeys.CreateUser()
	if err != nil {
		panic(err) // no random numbers: no test can run
	}
	secret, _ := pair.Seed()
	public, _ = pair.PublicKey()
	return string(secret), public
}

func writeFile(t *testing.T, content string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "credentials")
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestCredentials(t *testing.T) {
	seed, public := newUser()
	ns, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, NoSigs: true, NoLog: true,
		Nkeys: []*server.NkeyUser{{Nkey: public}}})
	if err != nil {
		t.Fatal(err)
	}
	ns.Start()
	t.Cleanup(func() { ns.Shutdown(); ns.WaitForShutdown() })

	secrets := t.TempDir()
	if err := os.MkdirAll(filepath.Join(secrets, "users"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{defaultUser, "kiosk"} {
		if err := os.WriteFile(filepath.Join(secrets, "users", name+".nk"), []byte(seed), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, option := range map[string]Option{
		"a seed":              WithCredentials(writeFile(t, seed+"\n")),
		"a secrets directory": WithCredentials(secrets),
		"one of its users":    WithUser(secrets, "kiosk"),
	} {
		c, err := Connect(t.Context(), ns.ClientURL(), WithTransport(testTransport), option)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		c.Close()
	}
	if c, err := Connect(t.Context(), ns.ClientURL(), WithTransport(testTransport)); err == nil {
		c.Close()
		t.Error("a client without credentials was let in")
	} else if CodeOf(err) != "unauthenticated" {
		t.Errorf("without credentials: %v", err)
	}
	stranger, _ := newUser()
	if _, err := Connect(t.Context(), ns.ClientURL(), WithTransport(testTransport), WithCredentials(writeFile(t, stranger))); CodeOf(err) != "unauthenticated" {
		t.Errorf("a stranger: %v", err)
	}
	if _, err := Connect(t.Context(), ns.ClientURL(), WithTransport(testTransport), WithUser(secrets, "nobody")); CodeOf(err) != "invalid_argument" {
		t.Errorf("a user that is not there: %v", err)
	}
}
