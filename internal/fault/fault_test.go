package fault

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestCodes(t *testing.T) {
	retryable := map[Code]bool{ResourceExhausted: true, Unavailable: true, Aborted: true}
	seen := map[Code]bool{}
	for _, c := range Codes {
		if !c.Known() || seen[c] || c.Retryable() != retryable[c] {
			t.Errorf("%s: known %v, seen before %v, retryable %v", c, c.Known(), seen[c], c.Retryable())
		}
		seen[c] = true
	}
	if len(Codes) != 12 || Code("").Known() || Code("oops").Known() {
		t.Errorf("%d codes are known", len(Codes))
	}
}

func TestError(t *testing.T) {
	cause := errors.New("disk on fire")
	e := Wrap(cause, Unavailable, "the %s can't be reached", "store")
	if !errors.Is(e, cause) || e.Message != "the store can't be reached" || e.Error() != "unavailable: the store can't be reached: disk on fire" {
		t.Errorf("%v", e)
	}
	if strings.Contains(e.Message, "disk") {
		t.Error("the cause is shown to the caller")
	}
	at := e.WithField("sku")
	if e.Field != "" || at.Field != "sku" || !errors.Is(at, cause) || !strings.Contains(at.Error(), "(field sku)") {
		t.Errorf("%v and %v", e, at)
	}
	if i := Invalid("lines[0].sku", "no %d", 7); i.Code != InvalidArgument || i.Field != "lines[0].sku" || i.Message != "no 7" || i.Unwrap() != nil {
		t.Errorf("%v", i)
	}
}

func TestIs(t *testing.T) {
	e := fmt.Errorf("loading: %w", New(NotFound, "there is no such order"))
	if !errors.Is(e, &Error{Code: NotFound}) || errors.Is(e, &Error{Code: Aborted}) || errors.Is(e, New(NotFound, "another")) || errors.Is(e, context.Canceled) {
		t.Error("Is compares by code alone, and only with a bare one")
	}
}

func TestFrom(t *testing.T) {
	inner := New(Aborted, "a race was lost")
	for name, c := range map[string]struct {
		err  error
		code Code
	}{
		"none":            {nil, ""},
		"a fault":         {inner, Aborted},
		"a wrapped fault": {fmt.Errorf("saving: %w", inner), Aborted},
		"anything else":   {errors.New("secret path"), Internal},
		"a deadline":      {fmt.Errorf("asking: %w", context.DeadlineExceeded), DeadlineExceeded},
		"a cancellation":  {context.Canceled, DeadlineExceeded},
		"a fault's own":   {Wrap(context.DeadlineExceeded, Unavailable, "no answer"), Unavailable},
	} {
		if got := CodeOf(c.err); got != c.code {
			t.Errorf("%s: %q, want %q", name, got, c.code)
		}
	}
	f := From(errors.New("secret path"))
	if strings.Contains(f.Message, "secret") || !strings.Contains(f.Error(), "secret path") {
		t.Errorf("shown %q, logged %q", f.Message, f)
	}
	if From(nil) != nil {
		t.Error("no error became one")
	}
}
