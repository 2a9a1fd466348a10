package journal

import "testing"

func TestReadDelivery(t *testing.T) {
	for reply, want := range map[string]delivery{
		"$JS.ACK.JOURNAL.plan.1.17.5.1700000000000000000.3":                  {stream: 17, consumer: 5, pending: 3},
		"$JS.ACK.local.ACCHASH.JOURNAL.plan.1.17.5.1700000000000000000.3":    {stream: 17, consumer: 5, pending: 3},
		"$JS.ACK._.ACCHASH.JOURNAL.plan.2.17.5.1700000000000000000.3.random": {stream: 17, consumer: 5, pending: 3},
	} {
		if got, ok := readDelivery(reply); !ok || got != want {
			t.Errorf("%s: %+v, %v", reply, got, ok)
		}
	}
	for _, reply := range []string{"", "_INBOX.1", "$JS.ACK.", "$JS.ACK.a.b.c.d", "$JS.ACK.a.b.1.2.3.4.5.6", "$JS.ACK.JOURNAL.plan.1.x.5.1.3", "$JS.ACK.JOURNAL.plan.1.17.5.1.-3"} {
		if got, ok := readDelivery(reply); ok {
			t.Errorf("%q: %+v", reply, got)
		}
	}
}
