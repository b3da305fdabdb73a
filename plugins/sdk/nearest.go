package sdk

// Nearest returns the word of words that differs from word by the fewest edits, or "" when
// none is near enough to be a slip of the hand.
func Nearest(word string, words []string) string {
	best, limit := "", max(2, len(word)/3)
	for _, w := range words {
		if d := edits(word, w); d <= limit && d < len(w) {
			best, limit = w, d-1
		}
	}
	return best
}

// edits is the Levenshtein distance, with a swap of neighbours counted as one edit.
func edits(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
