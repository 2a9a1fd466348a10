package main

import (
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"waybill/internal/id"
	"waybill/internal/money"
	"waybill/internal/timestamp"
	"waybill/subjects"
)

// parseLines reads lines such as espresso=2; a bare SKU is one of it.
func parseLines(texts []string) ([]subjects.StockLine, error) {
	lines := make([]subjects.StockLine, 0, len(texts))
	for _, t := range texts {
		sku, number, given := strings.Cut(t, "=")
		quantity := int64(1)
		if given {
			n, err := strconv.ParseInt(number, 10, 64)
			if err != nil {
				return nil, usage("the line %q is not SKU=QUANTITY, such as espresso=2", t)
			}
			quantity = n
		}
		if !id.Valid(sku, id.MaxChosen) || quantity < 1 || quantity > subjects.MaxQuantity {
			return nil, usage("the line %q is not SKU=QUANTITY, such as espresso=2, with a quantity of 1 to %d", t, subjects.MaxQuantity)
		}
		lines = append(lines, subjects.StockLine{SKU: id.SKU(sku), Quantity: quantity})
	}
	return lines, nil
}

// parsePrice reads an amount in the major unit, such as "4.50 EUR".
func parsePrice(t string) (subjects.Money, error) {
	m, err := money.Parse(t)
	if err != nil {
		return m, usage("%v", err)
	}
	return m, nil
}

// parseTax reads a rate such as 19% or 7.5% into hundredths of a percent.
func parseTax(t string) (int64, error) {
	number := strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(t), "%"))
	whole, fraction, dot := strings.Cut(number, ".")
	bp, err := strconv.ParseUint(whole+(fraction + "00")[:2], 10, 32)
	if err != nil || whole == "" || len(fraction) > 2 || dot && fraction == "" || bp > subjects.MaxTaxRateBP {
		return 0, usage("%q is not a tax rate such as 19%% or 7.5%%, with at most two decimals", t)
	}
	return int64(bp), nil
}

// formatTax writes what parseTax reads.
func formatTax(bp int64) string {
	t := strconv.FormatInt(bp/100, 10)
	if rest := bp % 100; rest != 0 {
		t += strings.TrimSuffix("."+strconv.FormatInt(rest+100, 10)[1:], "0")
	}
	return t + "%"
}

// parseAddress reads "Ada Lovelace, 12 Main Street, Berlin, 10115, DE" (name, line, second line if there is one, city, postal
// code, country), or the contract's names: "name=Ada Lovelace, line1=12 Main Street, …".
func parseAddress(t string) (*subjects.Address, error) {
	parts := strings.Split(t, ",")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	if strings.Contains(parts[0], "=") {
		return namedAddress(parts)
	}
	a := &subjects.Address{}
	switch len(parts) {
	case 5:
		a.Name, a.Line1, a.City, a.PostalCode, a.Country = parts[0], parts[1], parts[2], parts[3], parts[4]
	case 6:
		a.Name, a.Line1, a.Line2, a.City, a.PostalCode, a.Country = parts[0], parts[1], parts[2], parts[3], parts[4], parts[5]
	default:
		return nil, usage(`%q is not an address such as "Ada Lovelace, 12 Main Street, Berlin, 10115, DE"`, t)
	}
	a.Country = strings.ToUpper(a.Country)
	return a, nil
}

func namedAddress(parts []string) (*subjects.Address, error) {
	a := &subjects.Address{}
	fields := map[string]*string{"name": &a.Name, "line1": &a.Line1, "line2": &a.Line2, "city": &a.City, "region": &a.Region,
		"postal_code": &a.PostalCode, "country": &a.Country}
	for _, part := range parts {
		name, value, _ := strings.Cut(part, "=")
		field, ok := fields[strings.TrimSpace(name)]
		if !ok {
			return nil, usage("%q is no part of an address; there are name, line1, line2, city, region, postal_code and country", name)
		}
		*field = strings.TrimSpace(value)
	}
	return a, nil
}

// parseTime reads a time (RFC 3339), a local date, or how long ago, such as 90m or 24h. The empty text is no time.
func parseTime(t string, now time.Time) (subjects.Time, error) {
	if t == "" {
		return subjects.Time{}, nil
	}
	if ago, err := time.ParseDuration(t); err == nil && ago >= 0 {
		return timestamp.Of(now.Add(-ago)), nil
	}
	if day, err := time.ParseInLocation(time.DateOnly, t, time.Local); err == nil {
		return timestamp.Of(day), nil
	}
	point, err := timestamp.Parse(t)
	if err != nil {
		return point, usage("%q is no time: give 2026-01-31, 2026-01-31T15:04:05Z, or how long ago, such as 24h", t)
	}
	return point, nil
}

// parseID reads a number that names something, such as a dead letter.
func parseNumber(what, t string) (uint64, error) {
	n, err := strconv.ParseUint(t, 10, 64)
	if err != nil {
		return 0, usage("%s %q is not a whole number", what, t)
	}
	return n, nil
}

// maxInput bounds what is read from a file or the standard input, in bytes.
const maxInput = 64 << 20

// read reads a whole file, or the standard input for "-".
func (p *program) read(name string) ([]byte, error) {
	in := p.in
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, usage("%v", err)
		}
		defer f.Close()
		in = f
	}
	content, err := io.ReadAll(io.LimitReader(in, maxInput+1))
	switch {
	case err != nil:
		return nil, usage("%s can't be read: %v", name, err)
	case len(content) > maxInput:
		return nil, usage("%s is larger than %d MiB", name, maxInput>>20)
	}
	return content, nil
}

// pageFlags adds --limit and --cursor.
func pageFlags(f flags) *subjects.Page {
	page := &subjects.Page{}
	f.IntVar(&page.Limit, "limit", 0, "how many to show, at most 500 (default 50)")
	f.StringVar(&page.Cursor, "cursor", "", "go on where a former page ended")
	return page
}

// flags is the part of a flag set that commands use.
type flags interface {
	StringVar(p *string, name, value, usage string)
	IntVar(p *int, name string, value int, usage string)
}
