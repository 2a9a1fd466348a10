package vault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"waybill/internal/fault"
	"waybill/internal/id"
	"waybill/internal/journal"
	"waybill/internal/journal/journaltest"
	"waybill/subjects"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var master = [32]byte([]byte("0123456789abcdef0123456789abcdef"))

func keys(t testing.TB) *journal.Stream {
	t.Helper()
	b := journaltest.Start(t)
	b.Streams(journaltest.Keys())
	return journal.OpenStream(b.Connect(), subjects.StreamKeys, "")
}

func codeIs(t *testing.T, err error, code fault.Code) {
	t.Helper()
	if got := fault.CodeOf(err); got != code {
		t.Fatalf("code %q in place of %q: %v", got, code, err)
	}
}

func mustSeal(t *testing.T, v *Vault, c id.Customer, plain string) []byte {
	t.Helper()
	blob, err := v.SealPersonal(t.Context(), c, []byte(plain))
	if err != nil {
		t.Fatal(err)
	}
	if len(plain) > 4 && bytes.Contains(blob, []byte(plain)) { // a short text may be there by chance
		t.Fatal("the blob shows what is in it")
	}
	return blob
}

func opens(t *testing.T, v *Vault, c id.Customer, blob []byte, want string) {
	t.Helper()
	plain, err := v.OpenPersonal(t.Context(), c, blob)
	if err != nil || string(plain) != want {
		t.Fatalf("%q %v, want %q", plain, err, want)
	}
}

func erased(t *testing.T, v *Vault, c id.Customer, blob []byte) {
	t.Helper()
	if plain, err := v.OpenPersonal(t.Context(), c, blob); !errors.Is(err, ErrErased) {
		t.Fatalf("%q %v, want it erased", plain, err)
	}
}

func TestPersonal(t *testing.T) {
	stream := keys(t)
	v := Open(master, stream, journaltest.Site)
	one := mustSeal(t, v, "c-1", "ann@example.com")
	two := mustSeal(t, v, "c-1", "ann@example.com")
	if bytes.Equal(one, two) {
		t.Error("the same text twice is the same blob")
	}
	opens(t, v, "c-1", one, "ann@example.com")
	// Another process, and this one after a restart, has nothing but the stream and the master key.
	opens(t, Open(master, stream, journaltest.Site), "c-1", two, "ann@example.com")

	mustSeal(t, v, "c-2", "bob@example.com")
	_, err := v.OpenPersonal(t.Context(), "c-2", one)
	if !errors.Is(err, ErrErased) {
		t.Errorf("%v: another customer's key opens the blob", err)
	}
	for i := range one {
		changed := bytes.Clone(one)
		changed[i] ^= 1
		if plain, err := v.OpenPersonal(t.Context(), "c-1", changed); err == nil {
			t.Errorf("with byte %d changed it still opens: %q", i, plain)
		}
	}
	for _, bad := range [][]byte{nil, {1}, {2, 1, 2, 3, 4, 5, 6, 7, 8, 9}, one[:12]} {
		_, err := v.OpenPersonal(t.Context(), "c-1", bad)
		if code := fault.CodeOf(err); code != fault.InvalidArgument && !errors.Is(err, ErrErased) {
			t.Errorf("%x: %v", bad, err)
		}
	}
	other := master
	other[0]++
	_, err = Open(other, stream, journaltest.Site).OpenPersonal(t.Context(), "c-1", one)
	codeIs(t, err, fault.Internal)

	for _, c := range []id.Customer{"", "*", "a.b", "c 1"} {
		_, err := v.SealPersonal(t.Context(), c, nil)
		codeIs(t, err, fault.InvalidArgument)
		_, err = v.OpenPersonal(t.Context(), c, one)
		codeIs(t, err, fault.InvalidArgument)
		_, err = v.Erase(t.Context(), c)
		codeIs(t, err, fault.InvalidArgument)
	}
}

func TestErase(t *testing.T) {
	stream := keys(t)
	here, there := Open(master, stream, journaltest.Site), Open(master, stream, journaltest.Site)
	now := time.Now()
	there.now = func() time.Time { return now }

	blob := mustSeal(t, here, "c-1", "ann@example.com")
	opens(t, there, "c-1", blob, "ann@example.com")
	if existed, err := here.Erase(t.Context(), "c-1"); err != nil || !existed {
		t.Fatal(existed, err)
	}
	erased(t, here, "c-1", blob)
	erased(t, Open(master, stream, journaltest.Site), "c-1", blob)

	// The other process still has the key in memory, for its age and no longer.
	now = now.Add(cacheAge - time.Millisecond)
	opens(t, there, "c-1", blob, "ann@example.com")
	// But it seals nothing new with it.
	fresh := mustSeal(t, there, "c-1", "ann@example.org")
	opens(t, here, "c-1", fresh, "ann@example.org")
	erased(t, there, "c-1", blob)
	erased(t, here, "c-1", blob)

	if existed, err := here.Erase(t.Context(), "c-1"); err != nil || !existed {
		t.Fatal(existed, err)
	}
	if existed, err := here.Erase(t.Context(), "c-1"); err != nil || existed {
		t.Fatal(existed, err)
	}
	opens(t, there, "c-1", fresh, "ann@example.org")
	now = now.Add(cacheAge)
	erased(t, there, "c-1", fresh)
}

// Many processes that seal for a new customer at once agree on one key.
func TestOneKey(t *testing.T) {
	stream := keys(t)
	var all sync.WaitGroup
	blobs := make([][]byte, 16)
	for i := range blobs {
		all.Go(func() {
			var err error
			if blobs[i], err = Open(master, stream, journaltest.Site).SealPersonal(t.Context(), "c-1", []byte("x")); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	v := Open(master, stream, journaltest.Site)
	for _, blob := range blobs {
		opens(t, v, "c-1", blob, "x")
	}
	if last, err := stream.LastSequence(t.Context()); err != nil || last != 1 {
		t.Errorf("%d keys were written (%v), want 1", last, err)
	}
}

func TestCacheIsBounded(t *testing.T) {
	v := Open(master, keys(t), journaltest.Site)
	v.cache = newCache(3)
	for i := range 10 {
		c := id.Customer(fmt.Sprintf("c-%d", i))
		opens(t, v, c, mustSeal(t, v, c, "x"), "x")
	}
	if n := len(v.cache.by); n != 3 || v.cache.order.Len() != 3 {
		t.Errorf("%d keys in memory, want 3", n)
	}
	if _, ok := v.cache.peek("c-9"); !ok {
		t.Error("the key used last is not in memory")
	}
}

// A key that was read before it was erased does not come back into memory afterwards.
func TestEraseWhileOpening(t *testing.T) {
	stream := keys(t)
	blob := mustSeal(t, Open(master, stream, journaltest.Site), "c-1", "x")
	slow := &slowKeys{Keys: stream, read: make(chan struct{}), goOn: make(chan struct{})}
	v := Open(master, slow, journaltest.Site)
	var all sync.WaitGroup
	all.Go(func() { opens(t, v, "c-1", blob, "x") })
	<-slow.read
	if existed, err := v.Erase(t.Context(), "c-1"); err != nil || !existed {
		t.Error(existed, err)
	}
	close(slow.goOn)
	all.Wait()
	erased(t, v, "c-1", blob)
}

// slowKeys holds the first reading until the test lets it go on.
type slowKeys struct {
	Keys
	first      sync.Once
	read, goOn chan struct{}
}

func (s *slowKeys) Body(ctx context.Context, subject string) ([]byte, bool, error) {
	body, ok, err := s.Keys.Body(ctx, subject)
	s.first.Do(func() {
		close(s.read)
		<-s.goOn
	})
	return body, ok, err
}

func TestToken(t *testing.T) {
	v := Open(master, nil, journaltest.Site)
	blob := v.SealToken("o-1", "tok_ok")
	if got, err := Open(master, nil, journaltest.Site).OpenToken("o-1", blob); err != nil || got != "tok_ok" {
		t.Errorf("%q %v", got, err)
	}
	if bytes.Contains(blob, []byte("tok_ok")) || bytes.Equal(blob, v.SealToken("o-1", "tok_ok")) {
		t.Error("the sealed token tells something")
	}
	_, err := v.OpenToken("o-2", blob)
	codeIs(t, err, fault.InvalidArgument)
	_, err = Open(master, nil, "other").OpenToken("o-1", blob)
	codeIs(t, err, fault.InvalidArgument)
	for i := range blob {
		changed := bytes.Clone(blob)
		changed[i] ^= 0x80
		_, err := v.OpenToken("o-1", changed)
		codeIs(t, err, fault.InvalidArgument)
	}
	_, err = v.OpenToken("o-1", nil)
	codeIs(t, err, fault.InvalidArgument)
}

func TestHint(t *testing.T) {
	for token, want := range map[string]string{"": "", "abcd": "", "abcde": "bcde", "tok_ok": "k_ok", "tök€ñ1": "k€ñ1"} {
		if got := Hint(token); got != want {
			t.Errorf("of %q: %q, want %q", token, got, want)
		}
	}
}

func BenchmarkSealPersonal(b *testing.B) {
	v := Open(master, keys(b), journaltest.Site)
	plain := []byte(`{"email":"ann@example.com","ship_to":{"name":"Ann","line1":"1 Quay"}}`)
	n := 0
	for b.Loop() {
		if _, err := v.SealPersonal(b.Context(), id.Customer(fmt.Sprintf("c-%d", n%1000)), plain); err != nil {
			b.Fatal(err)
		}
		n++
	}
}
