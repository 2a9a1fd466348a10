package main

import (
	"path/filepath"
	"testing"

	"github.com/nats-io/nats.go"

	"waybill/client"
	"waybill/internal/nodetest"
	"waybill/subjects"
)

// TestVerifyFindsAForgery: an event that no service of this program wrote is named, and fails the command.
func TestVerifyFindsAForgery(t *testing.T) {
	n := nodetest.Start(t)
	nodetest.Stock(t, n.Client(t), 10, "espresso")
	environ := []string{"WAYBILL_SERVER=" + n.URL(), "HOME=" + t.TempDir()}
	step{args: "verify", out: `"violations":\[\]`}.run(t, environ)

	forger, err := client.Connect(t.Context(), n.URL(), client.WithUser(filepath.Join(n.Config.Data, "secrets"), string(subjects.Order)),
		client.WithInboxPrefix("_WB.order"))
	if err != nil {
		t.Fatal(err)
	}
	defer forger.Close()
	m := nats.NewMsg(subjects.Event(n.Config.Site, subjects.KindOrder, "forged"))
	m.Data = []byte(`{"v":1,"data":{},"state":{"order_id":"forged","status":"completed"}}`)
	m.Header.Set(subjects.HeaderType, subjects.TypeOf(subjects.KindOrder, "completed"))
	nc, err := forger.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if ack, err := nc.RequestMsgWithContext(t.Context(), m); err != nil {
		t.Fatal(err)
	} else if !matches(`"stream":"JOURNAL"`, string(ack.Data)) {
		t.Fatalf("the forgery was not stored: %s", ack.Data)
	}
	for _, s := range []step{
		{args: "verify", code: 1, out: `"violations":\[\{"rule":"[a-z]+","subject":"wb\.local\.evt\.order\.forged","sequence":\d+,"message":"[^"]+"`},
		{args: "verify -o table", code: 1, out: `^([a-z]+: wb\.local\.evt\.order\.forged \(event \d+\): [^\n]+\n)+.*: [1-9]\d* violations\n$`},
	} {
		s.run(t, environ)
	}
}
