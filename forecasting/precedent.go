package forecasting

// reaches are the lengths, in blocks, over which growth is compared with growth before.
var reaches = [...]int64{2, 6, 24}

// precedent remembers the largest growth there was over each reach, before the present one.
type precedent struct {
	largest [len(reaches)]float32
}

// take is called when a block is whole.
func (p *precedent) take(b *Breach) {
	const keep = 1 - 1.0/1440 // two months of 5-minute steps
	for k, w := range reaches {
		if b.whole() <= 2*w {
			continue
		}
		g := b.mean[b.blockAt(w)] - b.mean[b.blockAt(2*w)]
		p.largest[k] = max(p.largest[k]*keep, g)
	}
}
