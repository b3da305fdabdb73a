package detect

import "encoding/binary"

// agents remembers which user agents name a tool: there are few of them in a log, and to look for each
// tool in each takes longer than all else. It is keyed by a secret hash, so that nobody can write an
// agent that is taken for another.
type agents struct {
	seed  uint64
	known [agentsKnown]struct {
		hash uint64
		tool bool
	}
}

const agentsKnown = 512

func (a *agents) tool(signatures Signatures, agent []byte) bool {
	h := mix(uint64(len(agent))^a.seed, hashA)
	b := agent
	for ; len(b) > 8; b = b[8:] {
		h = mix(h^binary.LittleEndian.Uint64(b), a.seed|1)
	}
	var rest uint64
	for i, c := range b {
		rest |= uint64(c) << (8 * i)
	}
	h = mix(h^rest, hashC)
	k := &a.known[h%agentsKnown]
	if k.hash != h {
		k.hash, k.tool = h, signatures.Tool(agent)
	}
	return k.tool
}
