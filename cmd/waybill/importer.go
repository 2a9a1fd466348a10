package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"waybill/client"
	"waybill/internal/id"
	"waybill/subjects"
)

// importers bounds how many items are put at a time.
const importers = 16

// importItem is an item and where it stands in its file.
type importItem struct {
	line int
	put  subjects.PutItemRequest
}

// importResult is what became of an import.
type importResult struct {
	Put    int             `json:"put"`
	Failed []importFailure `json:"failed"`
}

type importFailure struct {
	Line  int    `json:"line"`
	SKU   id.SKU `json:"sku"`
	Error string `json:"error"`
}

func (p *program) catalogImport() *cobra.Command {
	c := stream{
		use: "import FILE", short: "Put many items, from CSV or JSON",
		long: "Puts every item of a file, or of the standard input for -. A file that can't be read to its end imports nothing.\n" +
			"CSV begins with a line of names: sku, name, unit_price (2.50 EUR), and if you like tax_rate (19%) and active (true or false).\n" +
			"JSON is a list of items, or one item after another, as catalog.put takes them.",
		example: "  waybill catalog import menu.csv\n  curl -s https://example.com/menu.json | waybill catalog import -",
		args:    exactly("FILE"),
		run: func(ctx context.Context, c *client.Client, x *connection, args []string) error {
			content, err := p.read(args[0])
			if err != nil {
				return err
			}
			items, err := parseItems(content)
			if err != nil {
				return usage("%s: %v", args[0], err)
			}
			result, err := p.importItems(ctx, c, items)
			if err != nil {
				return err
			}
			for _, f := range result.Failed {
				fmt.Fprintf(p.err, "%s:%d: %s: %s\n", args[0], f.Line, f.SKU, f.Error)
			}
			err = x.print(result, func(s *sheet) {
				s.line("%d of %d items were put", result.Put, len(items))
			})
			if err == nil && len(result.Failed) > 0 {
				return errSilent
			}
			return err
		},
	}
	return c.command(p)
}

// importItems puts the items, a bounded number at a time. An item that is refused does not stop the others; an error means
// that ctx ended.
func (p *program) importItems(ctx context.Context, c *client.Client, items []importItem) (importResult, error) {
	var (
		mu     sync.Mutex
		result = importResult{Failed: []importFailure{}}
		bar    = p.progress(int64(len(items)), "items")
		work   = make(chan importItem)
		done   sync.WaitGroup
	)
	for range min(importers, len(items)) {
		done.Go(func() {
			for item := range work {
				_, err := c.Catalog.Put(ctx, item.put)
				mu.Lock()
				if err == nil {
					result.Put++
				} else {
					result.Failed = append(result.Failed, importFailure{item.line, item.put.SKU, sentence(err)})
				}
				mu.Unlock()
				bar.add(1)
			}
		})
	}
	func() {
		defer close(work)
		for _, item := range items {
			select {
			case work <- item:
			case <-ctx.Done():
				return
			}
		}
	}()
	done.Wait()
	bar.finish()
	slices.SortFunc(result.Failed, func(a, b importFailure) int { return a.Line - b.Line })
	return result, ctx.Err()
}

// parseItems reads CSV or JSON, whichever it is.
func parseItems(content []byte) ([]importItem, error) {
	start := bytes.TrimLeft(bytes.TrimPrefix(content, []byte("\ufeff")), " \t\r\n")
	if len(start) == 0 {
		return nil, errors.New("there is nothing in it")
	}
	if start[0] == '[' || start[0] == '{' {
		return parseJSONItems(content)
	}
	return parseCSVItems(bytes.TrimPrefix(content, []byte("\ufeff")))
}

func parseJSONItems(content []byte) ([]importItem, error) {
	content = bytes.TrimPrefix(content, []byte("\ufeff"))
	d := jsontext.NewDecoder(bytes.NewReader(content))
	var items []importItem
	// lineOf counts on from where it was: the offsets only grow.
	line, counted := 1, int64(0)
	lineOf := func(offset int64) int {
		line += bytes.Count(content[counted:offset], []byte("\n"))
		counted = offset
		return line
	}
	for {
		switch d.PeekKind() {
		case jsontext.KindBeginArray, jsontext.KindEndArray:
			if _, err := d.ReadToken(); err != nil {
				return nil, fmt.Errorf("line %d: %w", lineOf(d.InputOffset()), err)
			}
			continue
		}
		raw, err := d.ReadValue()
		if errors.Is(err, io.EOF) && d.StackDepth() == 0 {
			return items, nil
		}
		end := d.InputOffset()
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", lineOf(end), err)
		}
		item := importItem{line: lineOf(end - int64(len(raw)))}
		if err := json.Unmarshal(raw, &item.put, json.RejectUnknownMembers(true)); err != nil {
			return nil, fmt.Errorf("line %d: this is not an item: %w", item.line, err)
		}
		if err := item.check(); err != nil {
			return nil, err
		}
		items = append(items, item)
	}
}

// csvColumns are the columns of a CSV file and how each is read.
var csvColumns = map[string]func(r *subjects.PutItemRequest, text string) error{
	"sku":  func(r *subjects.PutItemRequest, t string) error { r.SKU = id.SKU(t); return nil },
	"name": func(r *subjects.PutItemRequest, t string) error { r.Name = t; return nil },
	"unit_price": func(r *subjects.PutItemRequest, t string) (err error) {
		r.UnitPrice, err = parsePrice(t)
		return err
	},
	"tax_rate": func(r *subjects.PutItemRequest, t string) (err error) {
		if t != "" {
			r.TaxRateBP, err = parseTax(t)
		}
		return err
	},
	"active": func(r *subjects.PutItemRequest, t string) error {
		if t == "" {
			return nil
		}
		active, err := strconv.ParseBool(strings.ToLower(t))
		if err != nil {
			return fmt.Errorf("active is %q and not true or false", t)
		}
		r.Active = &active
		return nil
	},
}

func parseCSVItems(content []byte) ([]importItem, error) {
	reader := csv.NewReader(bytes.NewReader(content))
	reader.TrimLeadingSpace = true
	header, err := reader.Read()
	if err != nil {
		return nil, err
	}
	for i, name := range header {
		header[i] = strings.ToLower(strings.TrimSpace(name))
		if _, ok := csvColumns[header[i]]; !ok {
			return nil, fmt.Errorf("line 1: %q is no column; there are sku, name, unit_price, tax_rate and active", name)
		}
		if slices.Contains(header[:i], header[i]) {
			return nil, fmt.Errorf("line 1: the column %s stands there twice", header[i])
		}
	}
	for _, name := range []string{"sku", "name", "unit_price"} {
		if !slices.Contains(header, name) {
			return nil, fmt.Errorf("line 1: the column %s is missing", name)
		}
	}
	var items []importItem
	for {
		record, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return items, nil
		}
		if err != nil {
			return nil, err // says its line itself
		}
		line, _ := reader.FieldPos(0)
		item := importItem{line: line}
		for i, text := range record {
			if err := csvColumns[header[i]](&item.put, strings.TrimSpace(text)); err != nil {
				return nil, fmt.Errorf("line %d: %w", line, err)
			}
		}
		if err := item.check(); err != nil {
			return nil, err
		}
		items = append(items, item)
	}
}

// check refuses what the catalog would refuse, before anything is put.
func (i *importItem) check() error {
	if err := i.put.Validate(); err != nil {
		return fmt.Errorf("line %d: %s", i.line, strings.TrimPrefix(sentence(err), string(subjects.InvalidArgument)+": "))
	}
	return nil
}

// progress is a bar on a terminal, and nothing elsewhere.
type progress struct{ bar *progressbar.ProgressBar }

// progress shows how far something is, on the standard error where that is a terminal.
func (p *program) progress(total int64, what string) progress {
	if !p.errTerminal {
		return progress{}
	}
	return progress{progressbar.NewOptions64(total, progressbar.OptionSetWriter(p.err), progressbar.OptionSetDescription(what),
		progressbar.OptionSetWidth(30), progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionClearOnFinish(),
		progressbar.OptionSetPredictTime(true), progressbar.OptionThrottle(65e6))}
}

func (b progress) add(n int64) {
	if b.bar != nil {
		_ = b.bar.Add64(n) // a bar that can't be drawn is no reason to stop
	}
}

func (b progress) set(n int64) {
	if b.bar != nil {
		_ = b.bar.Set64(n)
	}
}

func (b progress) finish() {
	if b.bar != nil {
		_ = b.bar.Finish()
	}
}
