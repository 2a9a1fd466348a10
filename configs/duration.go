package configs

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// ParseDuration reads a duration as configuration writes it: that of time.ParseDuration, with whole days (d, of 24 hours)
// allowed in front: "250ms", "15m", "30d", "1d12h".
func ParseDuration(text string) (time.Duration, error) {
	days, rest, found := strings.Cut(text, "d")
	if !found {
		d, err := time.ParseDuration(text)
		if err != nil {
			return 0, errDuration(text)
		}
		return d, nil
	}
	n, err := strconv.ParseUint(days, 10, 31)
	if err != nil || n > uint64(math.MaxInt64/day) {
		return 0, errDuration(text)
	}
	d := time.Duration(n) * day
	if rest == "" {
		return d, nil
	}
	r, err := time.ParseDuration(rest)
	if err != nil || r < 0 || r >= day {
		return 0, errDuration(text)
	}
	return d + r, nil
}

func errDuration(text string) error {
	return fmt.Errorf("%.40q is not a duration such as 250ms, 15m or 30d", text)
}

// FormatDuration writes a duration so that ParseDuration reads it back, and short: "15m", not "15m0s".
func FormatDuration(d time.Duration) string {
	if d >= 2*day && d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
