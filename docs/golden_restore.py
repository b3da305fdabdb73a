#!/usr/bin/env python3
"""Restores a golden from a local store, without ShivX, as GOLDEN-FORMAT.md describes it.

  golden_restore.py --key KEY STORE SET/ID [--list | --target FOLDER]

verifies the golden; lists it; or restores it below FOLDER, which must be new or empty, once all is verified.
KEY is the public key of the host that made the golden, in base64. An encrypted store needs --identity FILE,
with which `age` opens it. Needs Python 3.9 with its module cryptography, and Python 3.14, the module zstandard
or the program zstd. Exit status: 0 done; 1 refused or failed; 3 restored, but for what was printed.
"""
import argparse, base64, hashlib, hmac, importlib, itertools, json, os, re, struct, subprocess, sys
from pathlib import Path
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

BLOCK, RECORD = 1 << 20, struct.Struct("<32s32sIIB")
HEADER = ("shivx_golden store id set host( name)?( run)? kind created taken_seconds( keep_until)? roots( missing)?( exclude)?"
          "( unstable)?( skipped)?( sources)? entries files bytes segments packs")
INODE, TAIL = "path type mode uid gid mtime", "( xattrs)?( hint)?"
FIELDS = {"file": INODE + " size sha256( blocks)?( data)?" + TAIL, "dir": INODE + TAIL, "fifo": INODE + TAIL,
          "symlink": INODE + " link" + TAIL, "hardlink": "path type link( hint)?"}

def need(fact, what):
    if not fact:
        raise ValueError(what)

def sha(data):
    return hashlib.sha256(data).digest()

def unbase64(text):
    return base64.b64decode(text, validate=True)

def unseal(key, sealed, about):
    return AESGCM(key).decrypt(sealed[:12], sealed[12:], about)

def fits(pattern, fields):
    return re.fullmatch(pattern, " ".join(fields)) and " " not in "".join(fields)

def shown(value):  # a name as text; what would not show is escaped
    text = value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)
    return text if text.isprintable() and "\\" not in text else repr(value)[2:-1] if isinstance(value, bytes) else text

def clean(path):
    parts = path.split(b"/")[1:]
    return path == b"/" or path[:1] == b"/" and not {b"", b".", b".."} & set(parts) and b"\0" not in path

def decompress(frames):
    """Makes a list of (zstd frame, plain length) a list of plain bytes."""
    for module in ("compression.zstd", "zstandard"):
        try:
            return [importlib.import_module(module).decompress(f) for f, _ in frames]
        except ImportError:
            pass
    joined = b"".join(f for f, _ in frames)  # one process for all of them
    out = subprocess.check_output(["zstd", "-dcq", "--long=31"], input=joined) if frames else b""
    ends = list(itertools.accumulate((n for _, n in frames), initial=0))
    need(ends[-1] == len(out), "zstd: not the length that it should have")
    return [out[a:b] for a, b in zip(ends, ends[1:])]

def entry(line):
    e, what = {}, repr(line[:300]) + ": "
    for name, value in json.loads(line, object_pairs_hook=list):
        coded = name in ("path_base64", "link_base64", "xattrs_base64")
        field, raw = (name[:-7], unbase64) if coded else (name, str.encode)
        need(field not in e, what + name + " twice")
        if field == "xattrs":
            e[field] = [(raw(n), unbase64(v)) for n, v in value]
        else:
            e[field] = raw(value) if field in ("path", "link") else value
    kind = e["type"]
    need(fits(FIELDS[kind], e), what + "unknown fields or order")
    need(clean(e["path"]) and (kind != "hardlink" or clean(e["link"])), what + "path")
    need(kind != "symlink" or e["link"] and b"\0" not in e["link"], what + "link")
    if kind != "hardlink":
        need(re.fullmatch("[0-7]{4}", e["mode"]) and re.fullmatch(r"-?\d+\.\d{9}", e["mtime"]), what + "mode or time")
        need(all(type(e[i]) is int and 0 <= e[i] < 1 << 32 for i in ("uid", "gid")), what + "owner")
    if kind == "file":
        end = stored = 0
        for offset, length in e.get("data", [[0, e["size"]]] if e["size"] else []):
            need(end <= offset and 0 < length, what + "data")
            end, stored = offset + length, stored + length
        e["hashes"] = [bytes.fromhex(h) for h in e.get("blocks", [e["sha256"]] if stored else [])]
        need(end <= e["size"] and len(e["hashes"]) == -(-stored // BLOCK), what + "size or blocks")
        need(stored or e["sha256"] == sha(b"").hex(), what + "hash of nothing")
    return e

class Golden:
    def __init__(self, store, golden_set, golden_id, key, identity):
        self.store, self.blocks, self.keys = store, {}, None
        about = json.loads(Path(store, "golden.json").read_bytes())
        file = Path(store, "goldens", golden_set, golden_id + ".golden")
        need(file.exists(), "no golden %s/%s here; give a whole id, the newest is the last of: %s"
             % (golden_set, golden_id, ", ".join(sorted(p.stem for p in file.parent.glob("*.golden"))[-5:]) or "none of this set"))
        line, second, self.segments = file.read_bytes().split(b"\n", 2)
        signature = json.loads(second)
        need(unbase64(signature["key"]) == key, "signed with another key: " + signature["key"])
        Ed25519PublicKey.from_public_bytes(key).verify(unbase64(signature["sig"]), b"shivx-golden-v1\n" + line)
        self.header = h = json.loads(line)
        need(h["shivx_golden"] == about["format"] == 1, "this program knows format 1 only")
        need(fits(HEADER, h), "header: unknown fields or order")
        need((h["set"], h["id"], h["store"]) == (golden_set, golden_id, about["id"]), "header: of another golden or store")
        need(all(re.fullmatch("[0-9a-f]{64}", p) for p in h["packs"]), "header: packs")
        self.roots = [root.encode() for root in h["roots"] if root not in h.get("missing", [])]
        need(all(map(clean, self.roots)), "header: roots")
        if about["encrypted"]:
            need(identity, "the store is encrypted: name --identity FILE")
            text = subprocess.check_output(["age", "-d", "-i", identity, Path(store, "key.age")], text=True)
            need(re.fullmatch(r"[0-9a-f]{64}\n", text), "key.age does not hold a key")
            main = bytes.fromhex(text)
            self.keys = {k: hmac.digest(main, b"shivx golden " + k, "sha256") for k in (b"block", b"entries", b"id")}

    def lines(self):
        at = 0
        for i, s in enumerate(self.header["segments"]):
            stored, at = self.segments[at:at + s["stored"]], at + s["stored"]
            need(sha(stored).hex() == s["sha256"], "segment %d is damaged" % i)
            if self.keys:
                stored = unseal(self.keys[b"entries"], stored, b"%s/%d" % (self.header["id"].encode(), i))
            plain, = decompress([(stored, s["plain"])])
            need(len(plain) == s["plain"] and plain.endswith(b"\n"), "segment %d: length" % i)
            yield from plain[:-1].split(b"\n")
        need(at == len(self.segments), "bytes after the last segment, or too few")

    def entries(self):
        last, kinds, counts = [], {}, [0, 0, 0]
        for line in self.lines():
            e = entry(line)
            path, place = e["path"], e["path"].split(b"/")
            need(place > last, "%r is out of order" % path)
            need(path in self.roots or kinds.get(os.path.dirname(path)) == "dir", "%r is in no folder" % path)
            need(e["type"] != "hardlink" or kinds.get(e["link"]) in ("file", "symlink", "fifo"), "%r links to nothing" % path)
            last, kinds[path] = place, e["type"]
            counts = [counts[0] + 1, counts[1] + (e["type"] == "file"), counts[2] + e.get("size", 0)]
            yield e
        need(counts == [self.header[f] for f in ("entries", "files", "bytes")], "counts differ from the header's")

    def pack(self, name):
        return Path(self.store, "packs", name[:2], name + ".pack")

    def read_packs(self):
        for name in self.header["packs"]:
            need(self.pack(name).stat().st_size <= 64 * BLOCK, "pack %s is too long" % name)
            pack = self.pack(name).read_bytes()
            begin = len(pack) - 12 - RECORD.size * struct.unpack("<I", pack[-12:-8])[0]
            need(begin > 8 and pack[:8] == b"shivxpk1" and pack[-8:] == b"1kpxvihs", "pack %s is damaged" % name)
            need(sha(pack[begin:-12]).hex() == name, "pack %s: the index is damaged" % name)
            at = 8
            for key, digest, stored, plain, codec in RECORD.iter_unpack(pack[begin:-12]):
                need(codec in (0, 1), "pack %s: unknown codec %d" % (name, codec))
                need(sha(pack[at:at + stored]) == digest, "pack %s: the block at %d is damaged" % (name, at))
                self.blocks[key] = name, at, stored, plain, codec
                at += stored
            need(at == begin, "pack %s: the blocks do not end at the index" % name)

    def key_of(self, digest):
        return hmac.digest(self.keys[b"id"], digest, "sha256") if self.keys else digest

    def plain(self, digests):
        out, packed = [], []
        for digest in digests:
            key = self.key_of(digest)
            name, at, length, plain, codec = self.blocks[key]
            with self.pack(name).open("rb") as f:
                f.seek(at)
                out.append(unseal(self.keys[b"block"], f.read(length), key) if self.keys else f.read(length))
            if codec == 1:
                packed.append((len(out) - 1, plain))
        for (i, _), data in zip(packed, decompress([(out[i], n) for i, n in packed])):
            out[i] = data
        need([sha(b) for b in out] == digests, "a block is not what it was")
        return out

    def restore(self, entries, target):
        self.target, self.complaints = target, []
        for root in self.roots:
            os.makedirs(os.path.dirname(self.target + root), exist_ok=True)
        batch, size = [], 0
        for e in entries:
            path = self.target + e["path"]
            if e["type"] == "dir" and path != self.target + b"/":
                os.mkdir(path, 0o700)
            elif e["type"] == "symlink":
                os.symlink(e["link"], path)
            elif e["type"] == "fifo":
                os.mkfifo(path, 0o600)
            elif e["type"] == "file":
                with open(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as f:
                    f.truncate(e["size"])
                e["places"], e["sum"] = e.get("data", [[0, e["size"]]])[::-1], hashlib.sha256()
                for i, digest in enumerate(e["hashes"]):
                    batch.append((e, i, digest))
                    size += self.blocks[self.key_of(digest)][3]
                    if size > 32 * BLOCK:
                        self.write(batch)
                        batch, size = [], 0
        self.write(batch)
        for e in sorted(reversed(entries), key=lambda e: {"hardlink": 1, "dir": 2}.get(e["type"], 0)):
            self.describe(e, self.target + e["path"])
        os.sync()
        return self.complaints

    def write(self, batch):
        for (e, i, digest), block in zip(batch, self.plain([digest for _, _, digest in batch])):
            e["sum"].update(block)
            with open(self.target + e["path"], "r+b", buffering=0) as f:
                while block:
                    offset, length = e["places"].pop()
                    n = os.pwrite(f.fileno(), block[:length], offset)
                    block = block[n:]
                    if n < length:
                        e["places"].append([offset + n, length - n])
            last = i == len(e["hashes"]) - 1
            need(not last or e["sum"].hexdigest() == e["sha256"], "%r is not what it was" % e["path"])

    def describe(self, e, path):
        if e["type"] == "hardlink":
            return os.link(self.target + e["link"], path, follow_symlinks=False)
        at, here = int(e["mtime"].replace(".", "")), {"follow_symlinks": False}
        steps = [("owner", os.chown, (e["uid"], e["gid"]), here)] if os.geteuid() == 0 else []
        steps += [("attribute %r" % name, os.setxattr, (name, value), here) for name, value in e.get("xattrs", [])]
        steps += [("mode", os.chmod, (int(e["mode"], 8),), {})] if e["type"] != "symlink" else []
        for what, do, args, how in steps + [("time", os.utime, (), {"ns": (at, at), **here})]:
            try:
                do(path, *args, **how)
            except (OSError, OverflowError) as err:
                self.complaints.append("%s of %r: %s" % (what, e["path"], err))

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, how in (("STORE", {}), ("SET/ID", {}), ("--key", {"required": True}), ("--identity", {"metavar": "FILE"}),
                      ("--list", {"action": "store_true"}), ("--target", {"metavar": "FOLDER", "type": os.fsencode})):
        p.add_argument(name, **how)
    a = p.parse_args()
    name = vars(a)["SET/ID"].split("/")
    need(len(name) == 2, "write SET/ID, as in: ls STORE/goldens/*")
    golden = Golden(a.STORE, *name, unbase64(a.key), a.identity)
    entries = list(golden.entries())
    if a.list:
        for e in entries:
            print(*(shown(e.get(f, "-")) for f in ("type", "mode", "uid", "gid", "size", "mtime", "path", "link")), sep="\t")
        return 0
    golden.read_packs()
    need(all(golden.key_of(h) in golden.blocks for e in entries for h in e.get("hashes", [])), "a block is in no pack")
    print("verified: %(entries)d entries, %(files)d files, %(bytes)d bytes" % golden.header, file=sys.stderr)
    if a.target is None:
        return 0
    os.makedirs(a.target, 0o700, exist_ok=True)
    need(not os.listdir(a.target), "%r is not empty" % a.target)
    complaints = golden.restore(entries, a.target)
    for complaint in complaints + ["not root: all belongs to you"] * (os.geteuid() != 0):
        print(complaint, file=sys.stderr)
    return 3 if complaints else 0

if __name__ == "__main__":
    try:
        sys.exit(main())
    except (OSError, LookupError, TypeError, AttributeError, ValueError, struct.error, subprocess.SubprocessError,
            InvalidSignature, InvalidTag) as error:
        sys.exit("refused or not complete: %s: %s" % (type(error).__name__, error))
