package view

import (
	"strconv"
	"strings"

	"waybill/subjects"
)

// schemaVersion names the layout below together with what the Go code writes into it. Raise it with every change of either:
// a file of another version is thrown away and rebuilt.
const schemaVersion = 1

// applicationID marks the file as a view, so that no other SQLite file is taken for one.
const applicationID = 0x57427677

// table describes the table of one kind of aggregate. All tables have the same columns:
//
//	num       the journal sequence of the aggregate's first event; never changes, so lists page by it
//	id        the aggregate's id
//	sequence  the journal sequence of its last event
//	status    its status; "deleted" for a deleted webhook
//	owner     an order's customer; the num of the order that a payment, shipment or notification belongs to, and of the
//	          payment that refunds belong to; null elsewhere
//	due       due_at in milliseconds since 1970; null where the background process has nothing to do
//	state     its state's JSON as it stands in the journal
//
// Ids are as good as random, and an index over them costs a write a page of its own. So there is one for all kinds, in
// which an order stands beside its parts (their ids begin with its own), and everything else goes by num, which grows.
type table struct {
	kind    subjects.Kind
	name    string
	indexes []string // column lists; num comes last in each by itself, as it is the row's key
	due     bool     // has an index over due
}

// owner is the type of the column of that name. SQLite uses the index over it only for a value of the same type.
func (t table) owner() string {
	if t.kind == subjects.KindOrder {
		return "TEXT"
	}
	return "INTEGER"
}

// tables lists the kinds that the view knows; events of other kinds only move its position. Stock and reservations are
// missing on purpose: their truth is the inventory leader's memory, a stock event's state is older than its reservations.
// A table's place in the list is its number in ids; owners come before what they own.
var tables = []table{
	{kind: subjects.KindOrder, name: "orders", indexes: []string{"status", "owner", "owner, status"}, due: true},
	{kind: subjects.KindPayment, name: "payments", indexes: []string{"owner"}, due: true},
	{kind: subjects.KindRefund, name: "refunds", indexes: []string{"owner"}, due: true},
	{kind: subjects.KindShipment, name: "shipments", indexes: []string{"owner", "status"}},
	{kind: subjects.KindNotification, name: "notifications", indexes: []string{"owner", "status"}, due: true},
	{kind: subjects.KindCatalog, name: "items", indexes: []string{"id"}},
	{kind: subjects.KindWebhook, name: "webhooks", indexes: []string{"id"}},
}

// chunk is the number of journal sequences that share a row of spans.
const chunk = 4096

// fixedSchema is what stands beside the tables of aggregates. The table facts has an order's columns that never change in
// practice, apart from the state, so that a search reads 150 bytes an order and an update of the state leaves them alone.
// The table spans has the earliest and latest creation time of the orders first seen within a chunk of sequences: it turns
// bounds of time into bounds of num even where the clock has jumped.
const fixedSchema = `
CREATE TABLE position (one INTEGER PRIMARY KEY CHECK (one = 1), sequence INTEGER NOT NULL, event_id TEXT NOT NULL, clean INTEGER NOT NULL);
INSERT INTO position VALUES (1, 0, '', 0);
CREATE TABLE ids (id TEXT NOT NULL, kind INTEGER NOT NULL, num INTEGER NOT NULL, PRIMARY KEY (id, kind)) WITHOUT ROWID;
CREATE TABLE facts (num INTEGER PRIMARY KEY, created INTEGER NOT NULL, payment TEXT NOT NULL, text BLOB NOT NULL);
CREATE TABLE spans (chunk INTEGER PRIMARY KEY, earliest INTEGER NOT NULL, latest INTEGER NOT NULL);
`

func schema() string {
	var b strings.Builder
	b.WriteString(fixedSchema)
	for _, t := range tables {
		b.WriteString("CREATE TABLE " + t.name + " (num INTEGER PRIMARY KEY, id TEXT NOT NULL, sequence INTEGER NOT NULL, " +
			"status TEXT NOT NULL, owner " + t.owner() + ", due INTEGER, state BLOB NOT NULL);\n")
		for i, columns := range t.indexes {
			b.WriteString("CREATE INDEX " + t.name + "_" + strconv.Itoa(i+1) + " ON " + t.name + " (" + columns + ");\n")
		}
		if t.due {
			b.WriteString("CREATE INDEX " + t.name + "_due ON " + t.name + " (due) WHERE due IS NOT NULL;\n")
		}
	}
	b.WriteString("PRAGMA application_id = " + strconv.Itoa(applicationID) + ";\n")
	b.WriteString("PRAGMA user_version = " + strconv.Itoa(schemaVersion) + ";\n")
	return b.String()
}
