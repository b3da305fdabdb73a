package e2e_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// accounts is between how many the money of a shop goes to and fro; their sum is always 0.
const accounts = 50

// order is what every service of the shop must have of one, to the last letter.
type order struct {
	N      int
	Source int
	Target int
	Amount int
	Text   string
}

// orderOf returns order n, 1 and up. Half of its text does not compress.
func orderOf(n int) order {
	sum := sha256.Sum256(fmt.Appendf(nil, "order %d", n))
	o := order{N: n, Source: int(sum[0]) % accounts, Amount: int(sum[1]) + 1}
	o.Target = (o.Source + 1 + int(sum[2])%(accounts-1)) % accounts
	o.Text = strings.Repeat(fmt.Sprintf("it's order %d; ", n), 8) + strings.Repeat(hex.EncodeToString(sum[:]), 1+n%3)
	return o
}

// balancesOf sums up the orders.
func balancesOf(orders []order) []int {
	out := make([]int, accounts)
	for _, o := range orders {
		out[o.Source] -= o.Amount
		out[o.Target] += o.Amount
	}
	return out
}

// book is a service that keeps orders.
type book interface {
	// fill writes the first orders.
	fill(t *testing.T, orders []order)
	// write keeps an order, whole or not at all, and returns once it is acknowledged.
	write(o order) error
	// read returns all orders by their number, and the balances.
	read(t *testing.T) ([]order, []int)
}

// writer writes orders to a book, one after another, whenever it is not paused.
type writer struct {
	name string
	book book

	mu     sync.Mutex // held while an order is written
	paused bool
	next   int
	// acked is the last order that was acknowledged.
	acked  atomic.Int64
	faults []error
}

// pace is the time between two orders of one writer.
const pace = 5 * time.Millisecond

// run writes until stop is closed.
func (w *writer) run(stop <-chan struct{}) {
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
			w.one()
		}
	}
}

func (w *writer) one() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.paused {
		return
	}
	if err := w.book.write(orderOf(w.next)); err != nil {
		w.faults = append(w.faults, fmt.Errorf("order %d: %w", w.next, err))
		return
	}
	w.acked.Store(int64(w.next))
	w.next++
}

// pause returns once nothing is being written any more.
func (w *writer) pause(t *testing.T) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.paused = true
	require.Empty(t, w.faults, "%s: services were running all the time", w.name)
}

// goOn ends a pause; the book may have lost orders in it.
func (w *writer) goOn(last int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.paused, w.next = false, last+1
	w.acked.Store(int64(last))
}

// require compares the book row by row with what was written to it: it has every order up to
// least, none after most, and none in between without all before it; and its balances are theirs. It
// returns the last order.
func (w *writer) require(t *testing.T, least, most int) int {
	t.Helper()
	orders, balances := w.book.read(t)
	last := len(orders)
	require.GreaterOrEqual(t, last, least, "%s: acknowledged orders are gone", w.name)
	require.LessOrEqual(t, last, most, "%s has orders from after the backup", w.name)
	for i, o := range orders {
		if want := orderOf(i + 1); o != want {
			t.Fatalf("%s: order %d is %+v, want %+v", w.name, i+1, o, want)
		}
	}
	require.Equal(t, balancesOf(orders), balances, "%s: the balances are not those of its %d orders", w.name, last)
	return last
}
