#!/usr/bin/env python3
"""The heartbeat protocol once more, in another language: writes tests/wire/vectors.txt.

Made from docs/PROTOCOL.md, not from the crate. `vectors.py --check` compares instead of writing.
"""
import hashlib
import hmac
import ipaddress
import pathlib
import struct
import sys
import zlib

HEADER, TAG, MOST = 92, 32, 1400
STATES = {"booting": 1, "running": 2, "leaving": 3, "gone": 4}
HOLDS = "nothing claiming starting active stopping stuck".split()
EXTENTS = "nothing except-dead all".split()
WISHES = "content take offer decline".split()


def mac(key, message):
    return hmac.new(key, message, hashlib.sha256).digest()


def node_id(name):
    return hashlib.sha256(b"pairbeat node 1\0" + name.encode()).digest()[:8]


def working(secret, sender, receiver):
    sender, receiver = sender.encode(), receiver.encode()
    names = bytes([len(sender)]) + sender + bytes([len(receiver)]) + receiver
    return mac(secret, b"pairbeat beat 1\0" + names)


def field(kind, value):
    return struct.pack(">BH", kind, len(value)) + value


def on_line(datagram):
    """Section 1.1: COBS over the datagram and its check sum, between two zero bytes."""
    out, rest = b"", datagram + struct.pack(">I", zlib.crc32(datagram))
    while True:
        zero = rest.find(0)
        run = len(rest) if zero < 0 else zero
        if run >= 254:
            out, rest = out + b"\xff" + rest[:254], rest[254:]
            if not rest:
                return b"\0" + out + b"\0"
            continue
        out += bytes([run + 1]) + rest[:run]
        if zero < 0:
            return b"\0" + out + b"\0"
        rest = rest[run + 1:]


def claim(text):
    name, epoch, hold, wish, via = text.split()
    address = b"\0"
    if via != "-":
        ip = ipaddress.ip_address(via)
        address = bytes([ip.version]) + ip.packed
    head = struct.pack(">QBB", int(epoch), HOLDS.index(hold), WISHES.index(wish))
    return field(0x84, head + address + name.encode())


def bodies(v, keys):
    node = field(0x81, bytes([STATES[v["node"]]])) + field(0x02, bytes([v["hears"]]))
    node += field(0x03, bytes.fromhex(v["config"]))
    if "reach" in v:
        node += field(0x11, bytes([v["reach"]]))
    if "words" in v:
        node += field(0x12, bytes.fromhex(v["words"]))
    if v.get("guarded"):
        node += field(0x08, b"\1")
    if v.get("notice"):
        extent, generation, back, deadtime = v["notice"]
        node += field(0x09, struct.pack(">BIII", EXTENTS.index(extent), generation, back, deadtime))
    if v.get("candidate"):
        echoes = [bytes.fromhex(s) + struct.pack(">Q", q) for s, q in v["candidate"]]
        node += field(0x05, b"".join(echoes))
    checks = [bytes([i]) + mac(key, b"pairbeat key check 1\0")[:4] for i, key in keys[:16]]
    node += field(0x06, b"".join(checks))
    out = [node]
    parts = [claim(text) for text in v.get("group", [])]
    parts += [field(0x13, struct.pack(">Q", stamp) + text.encode()) for stamp, text in v.get("word", [])]
    if "verdicts" in v:
        listed, first, states = v["verdicts"]
        parts.append(field(0x14, struct.pack(">IH", listed, first) + bytes.fromhex(states)))
    told = v.get("section", [])
    for at in range(0, len(told), 10):
        value = [struct.pack(">BII", *section) for section in told[at : at + 10]]
        parts.append(field(0x10, b"".join(value)))
    for one in parts:
        if len(out[-1]) + len(one) <= MOST - HEADER - TAG:
            out[-1] += one
        else:
            out.append(node + one)
    return [v["body"]] if "body" in v else out


def frames(v):
    keys = [(i, working(bytes.fromhex(s), v["from"], v["to"])) for i, s in v["key"]]
    all_bodies = bodies(v, keys)
    out = []
    for piece, body in enumerate(all_bodies):
        frame = b"pbhb" + bytes([v.get("version", 1), 1, v.get("flags", 0)])
        frame += bytes([v.get("key-id", keys[0][0]), v["link"], piece, len(all_bodies), 0])
        frame += struct.pack(">HH", HEADER + len(body) + TAG, 0)
        frame += node_id(v["from"]) + node_id(v["to"]) + bytes.fromhex(v["session"])
        frame += struct.pack(">Q", v["seq"]) + bytes.fromhex(v["echo"][0])
        frame += struct.pack(">QQI", v["echo"][1], *v["heard-here"])
        frame += body
        out.append(frame + mac(keys[0][1], frame))
    return out


SECRET = bytes(range(32))
BASE = {
    "from": "server101", "to": "server105", "key": [(1, SECRET.hex())], "link": 0,
    "session": "a1" * 16, "seq": 1, "echo": ("00" * 16, 0), "heard-here": (0, 0),
    "node": "booting", "hears": 0, "config": "0123456789abcdef",
}
OUT = []


def add(title, refused=None, alter=None, **changes):
    v = dict(BASE)
    v.update({key.replace("_", "-"): value for key, value in changes.items()})
    lines = ["vector " + title] + [f"key {i} {s}" for i, s in v["key"]]
    lines += [f"from {v['from']}", f"to {v['to']}"]
    if refused:
        lines.append("refused " + refused)
    else:
        lines += [f"link {v['link']}", f"session {v['session']}", f"seq {v['seq']}"]
        lines += ["echo {} {}".format(*v["echo"]), "heard-here {} {}".format(*v["heard-here"])]
        lines += [f"node {v['node']}", f"hears {v['hears']}", f"config {v['config']}"]
        lines += ["guarded 1"] * bool(v.get("guarded"))
        lines += ["notice {} {} {} {}".format(*v["notice"])] if v.get("notice") else []
        lines += [f"candidate {s} {q}" for s, q in v.get("candidate", [])]
        lines += ["reach {}".format(v["reach"])] if "reach" in v else []
        lines += ["group " + text for text in v.get("group", [])]
        lines += ["words {}".format(v["words"])] if "words" in v else []
        lines += [f"word {stamp} {text}" for stamp, text in v.get("word", [])]
        lines += ["verdicts {:08x} {} {}".format(*v["verdicts"])] if "verdicts" in v else []
        lines += ["section {} {:08x} {:08x}".format(*s) for s in v.get("section", [])]
    for frame in frames(v):
        lines.append("frame " + (alter(frame) if alter else frame).hex())
    lines += ["line " + on_line(frame).hex() for frame in frames(v) if v.get("serial")]
    OUT.append("\n".join(lines) + "\n")


ECHO = ("b2" * 16, 41)
ACTIVE = ["192.168.2.110 7 active content 192.168.2.101"]
GIVEN = ["192.168.2.110 7 nothing decline -"]
NEEDED = field(0x81, b"\2") + field(0x02, b"\1") + field(0x03, bytes(8))

add("the first word of a node that has heard nobody")
add("the answer to it: an unproven session is echoed as a candidate",
    **{"from": "server105", "to": "server101"}, session="b2" * 16, seq=17,
    candidate=[("a1" * 16, 1)], node="running", group=["192.168.2.110 0 nothing content -"])
add("an active node in an established pair", seq=258, echo=ECHO, heard_here=(40, 1500),
    node="running", hears=3, group=ACTIVE)
add("its second link", link=1, seq=258, echo=ECHO, heard_here=(41, 70000), node="running",
    hears=3, group=ACTIVE)
add("every hold and wish, IPv6, names in UTF-8", seq=259, echo=ECHO, node="leaving", hears=255,
    group=["one 1 nothing take -", "two 2 claiming content -", "drei 3 starting content 2001:db8::1",
           "vier 4 active offer 192.0.2.1", "fünf 5 stopping decline -",
           "six 18446744073709551615 stuck content -"])
add("two keys, the second one active", key=[(9, "5a" * 40), (1, SECRET.hex())], seq=2, echo=ECHO,
    node="running")
add("a secret longer than a SHA-256 block", key=[(255, bytes(range(200)).hex())], seq=2,
    echo=ECHO, node="running")
add("the last word", seq=300, echo=ECHO, heard_here=(41, 5), node="gone", group=GIVEN)
add("a farewell signed in advance", seq=1 << 63, echo=(ECHO[0], 0), node="gone", group=GIVEN)
add("sixty-four groups with long names, in pieces", seq=260, echo=ECHO, node="running", hears=1,
    candidate=[(f"c{i}" * 16, i) for i in range(4)],
    group=[f"{'g' * 60}{i:04} {i} nothing content 2001:db8::{i:x}" for i in range(64)])
add("what the configuration consists of, while the two differ", seq=261, echo=ECHO, node="running",
    hears=1, group=ACTIVE, section=[(i % 8 + 1, i * 7 << 20, 0xFFFFFFFF - i) for i in range(12)])
add("a guarded node that restarts with everything held", seq=262, echo=ECHO, node="running", hears=3,
    group=ACTIVE, guarded=True, notice=("nothing", 0, 10000, 2000))
add("frozen but for what is dead", seq=263, echo=ECHO, node="running", hears=3, group=ACTIVE,
    notice=("except-dead", 3, 0, 30000))
add("two of its ping nodes answer", seq=264, echo=ECHO, node="running", hears=1,
    reach=2, group=ACTIVE)
add("an operator drains a real server", seq=265, echo=ECHO, node="running", hears=1, group=ACTIVE,
    words="00c0ffee00c0ffee", word=[(1732000000000, "192.168.2.106 = drain"),
    (1732000000001, "[2001:db8::6]:80 of tcp [2001:db8::1]:80 = weight 5")])
add("verdicts on eleven servers from the 513th on", seq=266, echo=ECHO, node="running", hears=1, group=ACTIVE,
    verdicts=(0xC0FFEE07, 512, "55860a"))
add("an unknown critical field", "critical", body=NEEDED + field(0xFE, b"?"))
add("one bit of the signature differs", "signature", lambda f: f[:-1] + bytes([f[-1] ^ 1]))
add("one bit of the sequence number differs", "signature",
    lambda f: f[:55] + bytes([f[55] ^ 2]) + f[56:])
add("signed for the other direction", "signature",
    lambda f: f[:-TAG] + mac(working(SECRET, "server105", "server101"), f[:-TAG]))
add("signed with the secret itself", "signature", lambda f: f[:-TAG] + mac(SECRET, f[:-TAG]))
add("an unknown key id", "key", key_id=2)
add("version 2", "version", version=2)
add("an unknown critical flag", "flags", flags=0x80)
add("cut by one byte", "length", lambda f: f[:-1])
add("from a third node", "stranger", lambda f: f[:16] + node_id("server109") + f[24:])
add("for a third node", "misaddressed", lambda f: f[:24] + node_id("server109") + f[32:])
add("without the node's state", "missing", body=field(0x02, b"\1") + field(0x03, bytes(8)))

add("over a serial line", link=2, seq=262, echo=ECHO, heard_here=(40, 130000), node="running",
    hears=7, group=ACTIVE, serial=True)
add("over a serial line, in pieces", link=2, seq=263, echo=ECHO, node="running", hears=7, serial=True,
    group=[f"{'g' * 60}{i:04} {i} nothing content 2001:db8::{i:x}" for i in range(14)])

HEAD = """# Test vectors of the heartbeat protocol, version 1. docs/PROTOCOL.md explains the words.
# Written by tests/wire/vectors.py, an implementation of its own, not by the crate.
# Secrets, sessions and frames are in hex; `-` is no address. Never changed, only added to.

"""
path = pathlib.Path(__file__).with_suffix(".txt")
text = HEAD + "\n".join(OUT)
if "--check" in sys.argv[1:]:
    sys.exit(path.read_text() != text)
path.write_text(text)
