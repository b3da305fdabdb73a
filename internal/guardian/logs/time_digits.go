package logs

// two reads two digits at b[i:]; -1 when they are none.
func two(b []byte, i int) int {
	if i+2 > len(b) {
		return -1
	}
	x, y := b[i]-'0', b[i+1]-'0'
	if x > 9 || y > 9 {
		return -1
	}
	return int(x)*10 + int(y)
}

// four reads a year of four digits that nanoseconds since 1970 can tell; -1 when there is none.
func four(b []byte, i int) int {
	x, y := two(b, i), two(b, i+2)
	if x < 0 || y < 0 || x*100+y < 1970 || x*100+y > 2261 {
		return -1
	}
	return x*100 + y
}

// timeOfDay reads "16:47:48" at b[i:] as seconds; -1 when it is none.
func timeOfDay(b []byte, i int) int {
	if i+8 > len(b) || b[i+2] != ':' || b[i+5] != ':' {
		return -1
	}
	h, m, s := two(b, i), two(b, i+3), two(b, i+6)
	if h < 0 || m < 0 || s < 0 || h > 23 || m > 59 || s > 60 {
		return -1
	}
	return h*3600 + m*60 + s
}

// dayOfMonth reads a day of one or two digits at b[i:], after a space for padding or not, and returns
// where it ends; 0 when there is none.
func dayOfMonth(b []byte, i int) (day, end int) {
	if i < len(b) && b[i] == ' ' {
		i++
	}
	if d := two(b, i); d >= 1 && d <= 31 {
		return d, i + 2
	}
	if i < len(b) && b[i] >= '1' && b[i] <= '9' {
		return int(b[i] - '0'), i + 1
	}
	return 0, 0
}

// fraction reads ".123" or ",123" at b[i:] in nanoseconds, and its length.
func fraction(b []byte, i int) (nano int64, n int) {
	if i+1 >= len(b) || (b[i] != '.' && b[i] != ',') || b[i+1]-'0' > 9 {
		return 0, 0
	}
	unit := int64(1e8)
	n = 1
	for i+n < len(b) && b[i+n]-'0' <= 9 {
		nano += int64(b[i+n]-'0') * unit
		unit /= 10
		n++
	}
	return nano, n
}

// unixTime reads "1370045862.453232" with a space behind it.
func unixTime(b []byte) (at int64, n int) {
	const whole = 10
	if len(b) <= whole || b[whole] != '.' {
		return 0, 0
	}
	sec := int64(0)
	for _, x := range b[:whole] {
		if x < '0' || x > '9' {
			return 0, 0
		}
		sec = sec*10 + int64(x-'0')
	}
	frac, n := fraction(b, whole)
	if n += whole; n == whole || n >= len(b) || b[n] != ' ' || sec > 9_000_000_000 {
		return 0, 0
	}
	return sec*1e9 + frac, n
}

// offset reads "Z", "+01:00", "+0100" or "+01" at b[i:] in seconds, and its length.
func offset(b []byte, i int) (sec, n int) {
	if i >= len(b) {
		return 0, 0
	}
	if b[i] == 'Z' || b[i] == 'z' {
		return 0, 1
	}
	if b[i] != '+' && b[i] != '-' {
		return 0, 0
	}
	h := two(b, i+1)
	if h < 0 {
		return 0, 0
	}
	n = 3
	m := 0
	if x := two(b, i+3); x >= 0 {
		m, n = x, 5
	} else if x := two(b, i+4); x >= 0 && b[i+3] == ':' {
		m, n = x, 6
	}
	sec = h*3600 + m*60
	if b[i] == '-' {
		sec = -sec
	}
	return sec, n
}

// month reads "Jan" and so on at the beginning of b; 0 when it is none.
func month(b []byte) int {
	if len(b) < 3 {
		return 0
	}
	switch uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2]) {
	case 'J'<<16 | 'a'<<8 | 'n':
		return 1
	case 'F'<<16 | 'e'<<8 | 'b':
		return 2
	case 'M'<<16 | 'a'<<8 | 'r':
		return 3
	case 'A'<<16 | 'p'<<8 | 'r':
		return 4
	case 'M'<<16 | 'a'<<8 | 'y':
		return 5
	case 'J'<<16 | 'u'<<8 | 'n':
		return 6
	case 'J'<<16 | 'u'<<8 | 'l':
		return 7
	case 'A'<<16 | 'u'<<8 | 'g':
		return 8
	case 'S'<<16 | 'e'<<8 | 'p':
		return 9
	case 'O'<<16 | 'c'<<8 | 't':
		return 10
	case 'N'<<16 | 'o'<<8 | 'v':
		return 11
	case 'D'<<16 | 'e'<<8 | 'c':
		return 12
	}
	return 0
}

// hexDigit is the value of a hexadecimal digit; -1 when it is none.
func hexDigit(x byte) int {
	switch {
	case x >= '0' && x <= '9':
		return int(x - '0')
	case x >= 'a' && x <= 'f':
		return int(x-'a') + 10
	case x >= 'A' && x <= 'F':
		return int(x-'A') + 10
	}
	return -1
}
