package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
)

func TestParseLines(t *testing.T) {
	for text, want := range map[string]string{
		"espresso=2": "[{espresso 2}]", "bun": "[{bun 1}]", "a=1 b=2 a=3": "[{a 1} {b 2} {a 3}]", "a=1000000": "[{a 1000000}]", "": "[]",
		"a=0": "", "a=-1": "", "a=x": "", "a=": "", "=1": "", "a b": "[{a 1} {b 1}]", "a=1000001": "", "a.b=1": "", "a=1=2": "", "ä=1": "",
	} {
		lines, err := parseLines(strings.Fields(text))
		got := fmt.Sprint(lines)
		if err != nil {
			got = ""
		}
		if got != want {
			t.Errorf("%q: got %q (%v), want %q", text, got, err, want)
		}
	}
}

func TestParseTax(t *testing.T) {
	for text, want := range map[string]int64{
		"19%": 1900, "19": 1900, "7.5%": 750, "7.25 %": 725, "0%": 0, " 19 % ": 1900, "1000%": 100_000, "0.05%": 5,
		"": -1, "%": -1, "-1%": -1, "7.255%": -1, "7.%": -1, ".5%": -1, "1001%": -1, "19%%": -1, "1e2": -1, "a": -1,
	} {
		got, err := parseTax(text)
		if err != nil {
			got = -1
		}
		if got != want {
			t.Errorf("%q: got %d (%v), want %d", text, got, err, want)
		}
		if want >= 0 {
			if again, err := parseTax(formatTax(want)); err != nil || again != want {
				t.Errorf("%d is written as %s and read as %d", want, formatTax(want), again)
			}
		}
	}
	for bp, want := range map[int64]string{0: "0%", 1900: "19%", 750: "7.5%", 725: "7.25%", 5: "0.05%", 10: "0.1%"} {
		if got := formatTax(bp); got != want {
			t.Errorf("%d is written as %s, not %s", bp, got, want)
		}
	}
}

func TestParseAddress(t *testing.T) {
	for text, want := range map[string]string{
		"Ada Lovelace, 12 Main Street, Berlin, 10115, de":                             "{Ada Lovelace 12 Main Street  Berlin  10115 DE}",
		"Ada,12 Main Street,2nd floor,Berlin,10115,DE":                                "{Ada 12 Main Street 2nd floor Berlin  10115 DE}",
		"name=Ada, line1=12 Main Street, city=X, region=Y, postal_code=1, country=US": "{Ada 12 Main Street  X Y 1 US}",
		"country=US, name=A, line1=B, line2=C, city=D, postal_code=E":                 "{A B C D  E US}",
		"Berlin": "", "": "", "a, b, c, d": "", "a, b, c, d, e, f, g": "", "name=A, street=B": "",
	} {
		a, err := parseAddress(text)
		got := ""
		if err == nil {
			got = fmt.Sprint(*a)
		}
		if got != want {
			t.Errorf("%q: got %q (%v), want %q", text, got, err, want)
		}
	}
}

func TestParseTime(t *testing.T) {
	now := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]string{
		"": "", "90m": "2026-01-31T10:30:00.000Z", "24h": "2026-01-30T12:00:00.000Z", "2026-01-02T03:04:05Z": "2026-01-02T03:04:05.000Z",
		"2026-01-02T03:04:05.678+01:00": "2026-01-02T02:04:05.678Z",
	} {
		if got, err := parseTime(text, now); err != nil || got.String() != want {
			t.Errorf("%q: got %s, %v", text, got, err)
		}
	}
	day, err := parseTime("2026-01-02", now)
	if want := time.Date(2026, 1, 2, 0, 0, 0, 0, time.Local); err != nil || !day.Std().Equal(want) {
		t.Errorf("a day is %s, %v", day, err)
	}
	for _, text := range []string{"yesterday", "-1h", "2026-13-01", "12"} {
		if got, err := parseTime(text, now); err == nil {
			t.Errorf("%q is %s", text, got)
		}
	}
}

func TestSettingValue(t *testing.T) {
	for _, tc := range []struct{ key, text, want string }{
		{"payment.capture", "on_confirm", `"on_confirm"`}, {"payment.capture", `"on_confirm"`, `"on_confirm"`},
		{"order.pending_timeout", "15m", `"15m"`}, {"order.pending_timeout", "5", `"5"`}, {"log.level", "true", `"true"`},
		{"rpc.max_in_flight", "64", `64`}, {"rpc.max_in_flight", "many", `"many"`}, {"rpc.max_in_flight", `"64"`, `"64"`},
		{"unknown.key", "true", `true`}, {"unknown.key", `{"a":1}`, `{"a":1}`}, {"unknown.key", "a word", `"a word"`}, {"unknown.key", "", `""`},
	} {
		if got := string(settingValue(tc.key, tc.text)); got != tc.want {
			t.Errorf("%s %s: got %s, want %s", tc.key, tc.text, got, tc.want)
		}
	}
}

func TestParseItems(t *testing.T) {
	for name, tc := range map[string]struct{ content, want, fails string }{
		"csv": {"sku,name,unit_price,tax_rate,active\nespresso,Espresso,2.50 EUR,19%,true\n\"mug\",\"Mug, blue\",12.00 EUR,,\n",
			`2 {"sku":"espresso","name":"Espresso","unit_price":{"amount":250,"currency":"EUR"},"tax_rate_bp":1900,"active":true}
			 3 {"sku":"mug","name":"Mug, blue","unit_price":{"amount":1200,"currency":"EUR"}}`, ""},
		"csv of spreadsheets": {"\ufeffSKU, Unit_Price, Name\r\na, 1 JPY, A\r\n",
			`2 {"sku":"a","name":"A","unit_price":{"amount":1,"currency":"JPY"}}`, ""},
		"list": {"[\n {\"sku\":\"a\",\"name\":\"A\",\"unit_price\":{\"amount\":1,\"currency\":\"EUR\"}},\n\n {\"sku\":\"b\",\"name\":\"B\",\"unit_price\":{\"amount\":2,\"currency\":\"EUR\"},\"active\":false}\n]\n",
			`2 {"sku":"a","name":"A","unit_price":{"amount":1,"currency":"EUR"}}
			 4 {"sku":"b","name":"B","unit_price":{"amount":2,"currency":"EUR"},"active":false}`, ""},
		"one after another": {`{"sku":"a","name":"A","unit_price":{"amount":1,"currency":"EUR"}}` + "\n" + `{"sku":"b","name":"B","unit_price":{"amount":1,"currency":"EUR"}}`,
			`1 {"sku":"a","name":"A","unit_price":{"amount":1,"currency":"EUR"}}
			 2 {"sku":"b","name":"B","unit_price":{"amount":1,"currency":"EUR"}}`, ""},
		"empty":                 {" \n", "", "nothing in it"},
		"unknown column":        {"sku,name,unit_price,colour\n", "", `line 1: "colour" is no column`},
		"missing column":        {"sku,name\n", "", "line 1: the column unit_price is missing"},
		"column twice":          {"sku,name,unit_price,sku\n", "", "line 1: the column sku stands there twice"},
		"bad price":             {"sku,name,unit_price\na,A,1 EUR\nb,B,2\n", "", "line 3: "},
		"bad tax":               {"sku,name,unit_price,tax_rate\na,A,1 EUR,lots\n", "", "line 2: "},
		"bad active":            {"sku,name,unit_price,active\na,A,1 EUR,perhaps\n", "", "line 2: active"},
		"bad sku":               {"sku,name,unit_price\na b,A,1 EUR\n", "", "line 2: sku must be"},
		"wrong number of cells": {"sku,name,unit_price\na,A\n", "", "line 2"},
		"open quotes":           {"sku,name,unit_price\na,\"A,1 EUR\n", "", "line "},
		"not an item":           {"[\n{\"sku\":\"a\"},\n{\"skuu\":\"b\"}]", "", "line 2: "},
		"unknown field":         {"{\"sku\":\"a\",\"name\":\"A\",\"unit_price\":{\"amount\":1,\"currency\":\"EUR\"}}\n{\"skuu\":\"b\"}", "", "line 2: this is not an item"},
		"cut off":               {"[{\"sku\":\"a\"", "", "line 1: "},
		"open list":             {"[\n{\"sku\":\"a\",\"name\":\"A\",\"unit_price\":{\"amount\":1,\"currency\":\"EUR\"}}\n", "", "line "},
		"a number":              {"[12]", "", "line 1: this is not an item"},
	} {
		items, err := parseItems([]byte(tc.content))
		if tc.fails != "" {
			if err == nil || !strings.Contains(err.Error(), tc.fails) {
				t.Errorf("%s: got %v, want %q", name, err, tc.fails)
			}
			continue
		}
		var got []string
		for _, item := range items {
			put, err := json.Marshal(item.put)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, fmt.Sprintf("%d %s", item.line, put))
		}
		if want := strings.ReplaceAll(tc.want, "\n\t\t\t ", "\n"); err != nil || strings.Join(got, "\n") != want {
			t.Errorf("%s: got %v\n%s\nwant\n%s", name, err, strings.Join(got, "\n"), want)
		}
	}
}

func TestCleanKeepsTerminalsSafe(t *testing.T) {
	for text, want := range map[string]string{
		"plain":                  "plain",
		"Zoë · 2 × café":         "Zoë · 2 × café",
		"a\x1b[2Jb":              "a [2Jb",
		"a\rb\nc\td\x00e\u009bf": "a b c d e f",
		"\x1b[32mgreen\x1b[0m":   "\x1b[32mgreen\x1b[0m",
		"bad \xff utf-8\x07":     "bad \xff utf-8 ",
	} {
		if got := clean(text); got != want {
			t.Errorf("%q became %q, not %q", text, got, want)
		}
	}
}
