package config

import (
	"fmt"
	"strings"
)

// nearest returns the candidate that word was probably meant to be, or "".
// It counts inserted, lost, wrong and swapped neighbouring letters.
func nearest(word string, candidates []string) string {
	best, bestDistance := "", max(1, len(word)/3)+1
	for _, c := range candidates {
		if d := distance(fold(word), fold(c)); d < bestDistance {
			best, bestDistance = c, d
		}
	}
	if best != "" || len(word) < 3 {
		return best
	}
	for _, c := range candidates {
		if strings.HasPrefix(fold(c), fold(word)) || len(c) >= 3 && strings.HasPrefix(fold(word), fold(c)) {
			return c
		}
	}
	return ""
}

// fold makes words equal that differ only in case or in the sign between their parts.
func fold(s string) string {
	return strings.NewReplacer("-", "", "_", "", " ", "").Replace(strings.ToLower(s))
}

// distance is the optimal string alignment distance of a and b.
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	rows := make([][]int, len(x)+1)
	for i := range rows {
		rows[i] = make([]int, len(y)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(x); i++ {
		for j := 1; j <= len(y); j++ {
			cost := 1
			if x[i-1] == y[j-1] {
				cost = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(x)][len(y)]
}

// suggest returns the hint for a wrong word: the nearest valid one, or all of them.
func suggest(word string, candidates []string, label string) string {
	if len(word) <= 64 {
		if near := nearest(word, candidates); near != "" {
			return fmt.Sprintf("did you mean %q?", near)
		}
	}
	if len(candidates) == 0 {
		return ""
	}
	return label + ": " + strings.Join(candidates, ", ")
}
