package logs

import "time"

// clock reads the times that logs write. It remembers the last hour and the last year that it worked
// out, as almost every line has those of the line before it.
type clock struct {
	now  time.Time
	zone *time.Location // nil: UTC
	// hour is the key of the last hour in zone, start its beginning in nanoseconds.
	hour  int
	start int64
	// day is the key of the last date without a year, year what was inferred for it.
	day, year int
}

func newClock(o Options) clock {
	c := clock{now: o.Now, zone: o.Zone, hour: -1, day: -1}
	if c.zone == time.UTC {
		c.zone = nil
	}
	return c
}

// leading reads the time at the beginning of b and returns it in nanoseconds since 1970, and how many
// bytes it takes; 0 bytes when there is none. Known are "Jun 21 16:47:48", "Jun  1 2019 16:47:48",
// ISO 8601 and RFC 3339, "2015/01/21 10:56:10", "Sat Jun 01 02:17:42.453232 2013", TAI64N, and journalctl's
// "Sat 2013-06-01 02:17:42 CEST" and "1370045862.453232".
func (c *clock) leading(b []byte) (at int64, n int) {
	if len(b) < 14 {
		return 0, 0
	}
	switch x := b[0]; {
	case x >= '0' && x <= '9':
		if at, n = c.iso(b); n == 0 {
			at, n = unixTime(b)
		}
		return at, n
	case x == '@':
		return tai64n(b)
	case b[3] != ' ':
		return 0, 0
	case month(b) != 0:
		return c.bsd(b)
	case b[4] >= '0' && b[4] <= '9':
		return c.shortFull(b)
	default:
		return c.ctime(b)
	}
}

// bsd reads "Jun 21 16:47:48" with a day of one or two digits, and with or without year and fraction.
func (c *clock) bsd(b []byte) (at int64, n int) {
	mo := month(b)
	d, i := dayOfMonth(b, 4)
	if mo == 0 || i == 0 || i >= len(b) || b[i] != ' ' {
		return 0, 0
	}
	i++
	year := four(b, i)
	if year >= 0 && i+4 < len(b) && b[i+4] == ' ' {
		i += 5
	} else {
		year = c.inferYear(mo, d)
	}
	sec := timeOfDay(b, i)
	if sec < 0 {
		return 0, 0
	}
	frac, k := fraction(b, i+8)
	return c.local(year, mo, d, sec) + frac, i + 8 + k
}

// ctime reads "Sat Jun 01 02:17:42.453232 2013", with or without fraction.
func (c *clock) ctime(b []byte) (at int64, n int) {
	if len(b) < 24 || b[3] != ' ' || b[7] != ' ' {
		return 0, 0
	}
	mo := month(b[4:])
	d, i := dayOfMonth(b, 8)
	if mo == 0 || i == 0 || b[i] != ' ' {
		return 0, 0
	}
	sec := timeOfDay(b, i+1)
	if sec < 0 {
		return 0, 0
	}
	i += 9
	frac, k := fraction(b, i)
	i += k
	year := four(b, i+1)
	if year < 0 || b[i] != ' ' {
		return 0, 0
	}
	return c.local(year, mo, d, sec) + frac, i + 5
}

// iso reads "2006-01-02T15:04:05.999Z07:00" with "-" or "/" in the date, with "T" or a space before
// the time, and with or without fraction and zone.
func (c *clock) iso(b []byte) (at int64, n int) {
	if len(b) < 19 || b[4] != b[7] || (b[4] != '-' && b[4] != '/') || (b[10] != 'T' && b[10] != ' ' && b[10] != 't') {
		return 0, 0
	}
	year, mo, d, sec := four(b, 0), two(b, 5), two(b, 8), timeOfDay(b, 11)
	if year < 0 || mo < 1 || mo > 12 || d < 1 || d > 31 || sec < 0 {
		return 0, 0
	}
	frac, k := fraction(b, 19)
	i := 19 + k
	if off, k := offset(b, i); k > 0 {
		return utc(year, mo, d, sec-off) + frac, i + k
	}
	if i < len(b) && b[i] == ' ' {
		if off, k := offset(b, i+1); k == 5 {
			return utc(year, mo, d, sec-off) + frac, i + 1 + k
		}
	}
	return c.local(year, mo, d, sec) + frac, i
}

// shortFull reads "Sat 2013-06-01 02:17:42 CEST", with or without fraction. Names of zones are ambiguous: but
// for UTC it is taken to be the host's.
func (c *clock) shortFull(b []byte) (at int64, n int) {
	at, n = c.iso(b[4:])
	if n == 0 {
		return 0, 0
	}
	zone, _ := token(b[4+n+min(1, len(b)-4-n):])
	if string(zone) == "UTC" {
		utc := newClock(Options{})
		at, _ = utc.iso(b[4:])
	}
	for _, x := range zone {
		if x < 'A' || x > 'Z' {
			return at, 4 + n
		}
	}
	return at, min(len(b), 4+n+1+len(zone))
}

// clf reads "20/Jan/2015:19:53:28 +0100", with or without fraction.
func (c *clock) clf(b []byte) (at int64, n int) {
	if len(b) < 20 || b[2] != '/' || b[6] != '/' || b[11] != ':' {
		return 0, 0
	}
	d, mo, year, sec := two(b, 0), month(b[3:]), four(b, 7), timeOfDay(b, 12)
	if d < 1 || d > 31 || mo == 0 || year < 0 || sec < 0 {
		return 0, 0
	}
	frac, k := fraction(b, 20)
	n = 20 + k
	if len(b) > n && b[n] == ' ' {
		if off, k := offset(b, n+1); k > 0 {
			return utc(year, mo, d, sec-off) + frac, n + 1 + k
		}
	}
	return c.local(year, mo, d, sec) + frac, n
}

// tai64n reads "@" and 24 hexadecimal digits. The difference between TAI and UTC stays in: the
// programs that write these labels disagree about it, and it is some seconds.
func tai64n(b []byte) (at int64, n int) {
	if len(b) < 25 || b[1] != '4' {
		return 0, 0
	}
	var sec, nano int64
	for i, x := range b[2:25] {
		d := hexDigit(x)
		switch {
		case d < 0:
			return 0, 0
		case i < 15:
			sec = sec<<4 | int64(d)
		default:
			nano = nano<<4 | int64(d)
		}
	}
	if sec > 1<<33 || nano >= 1e9 {
		return 0, 0
	}
	return sec*1e9 + nano, 25
}

// local is the time of zone in nanoseconds; sec is within the day.
func (c *clock) local(year, mo, d, sec int) int64 {
	if c.zone == nil {
		return utc(year, mo, d, sec)
	}
	h := sec / 3600
	if key := ((year*16+mo)*32+d)*32 + h; key != c.hour {
		c.hour = key
		c.start = time.Date(year, time.Month(mo), d, h, 0, 0, 0, c.zone).UnixNano()
	}
	return c.start + int64(sec%3600)*1e9
}

// inferYear returns the latest year in which the date is at most a day after now.
func (c *clock) inferYear(mo, d int) int {
	key := mo*32 + d
	if key == c.day {
		return c.year
	}
	now := c.now
	if now.IsZero() {
		now = time.Now()
	}
	zone := c.zone
	if zone == nil {
		zone = time.UTC
	}
	year, m, day := now.In(zone).AddDate(0, 0, 1).Date()
	if key > int(m)*32+day {
		year--
	}
	for mo == 2 && d == 29 && time.Date(year, 3, 0, 0, 0, 0, 0, time.UTC).Day() != 29 {
		year--
	}
	c.day, c.year = key, year
	return year
}

// utc is the time in nanoseconds since 1970; sec may be beyond the day.
// The days are counted in eras of 400 years whose years begin in March.
func utc(year, mo, d, sec int) int64 {
	if mo <= 2 {
		year--
		mo += 12
	}
	era := year / 400
	yoe := year - era*400
	doy := (153*(mo-3)+2)/5 + d - 1
	days := era*146097 + yoe*365 + yoe/4 - yoe/100 + doy - 719468
	return (int64(days)*86400 + int64(sec)) * 1e9
}
