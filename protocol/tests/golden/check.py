#!/usr/bin/env python3
"""Recomputes the golden vectors without any of this project's code, from the encodings alone.

    python3 -m venv /tmp/golden
    /tmp/golden/bin/pip install blake3==1.0.11 cbor2==6.2.1 coincurve==21.0.0 pycryptodome==4.4.0
    /tmp/golden/bin/python protocol/tests/golden/check.py

Prints how many values were recomputed, and exits with 1 at the first that differs.
"""

import hashlib
import pathlib
import sys

import blake3
import cbor2
from coincurve import PrivateKey, PublicKey
from Crypto.Hash import keccak

HERE = pathlib.Path(__file__).parent
HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0
checked = 0


def read(name):
    """The sections of a file, each a dictionary."""
    sections, section = {}, None
    for line in (HERE / name).read_text().splitlines():
        if line.startswith("["):
            section = sections.setdefault(line[1:-1], {})
        elif " = " in line or line.endswith(" ="):
            key, _, value = line.partition(" =")
            section[key] = value.strip()
    return sections


def same(what, expected, found):
    global checked
    if isinstance(found, bytes):
        found = found.hex()
    if expected.removeprefix("0x") != found:
        sys.exit(f"{what}: the vectors say\n{expected}\nand this program\n{found}")
    checked += 1


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def tagged(tag, *parts):
    return sha256(sha256(f"depx/{tag}/v1".encode()), *parts)


def address_of(public_key):
    return keccak.new(digest_bits=256, data=public_key.format(compressed=False)[1:]).digest()[12:]


def signer(digest, signature):
    """The address whose key made r, s, v over a digest."""
    r_s, v = signature[:64], signature[64]
    if len(signature) != 65 or v not in (27, 28) or int.from_bytes(r_s[32:], "big") > HALF_ORDER:
        sys.exit(f"not a canonical signature: {signature.hex()}")
    return address_of(PublicKey.from_signature_and_message(r_s + bytes([v - 27]), digest, hasher=None))


def head_of(leaves):
    """RFC 9162, section 2.1.1."""
    if not leaves:
        return sha256()
    if len(leaves) == 1:
        return sha256(b"\0", leaves[0])
    k = 1 << (len(leaves) - 1).bit_length() - 1
    return sha256(b"\1", head_of(leaves[:k]), head_of(leaves[k:]))


def path_of(m, leaves):
    """RFC 9162, section 2.1.3.1."""
    if len(leaves) == 1:
        return []
    k = 1 << (len(leaves) - 1).bit_length() - 1
    if m < k:
        return path_of(m, leaves[:k]) + [head_of(leaves[k:])]
    return path_of(m - k, leaves[k:]) + [head_of(leaves[:k])]


def bind(count, head):
    return tagged("tree", count.to_bytes(8, "big"), head)


def root_of(leaves):
    return bind(len(leaves), head_of(leaves))


def root_by(proof, leaf):
    """RFC 9162, section 2.1.3.2."""
    index, count, path = proof
    position, last, node = index, count - 1, sha256(b"\0", leaf)
    for sibling in path:
        if position % 2 == 1 or position == last:
            node = sha256(b"\1", sibling, node)
            while position % 2 == 0 and position != 0:
                position, last = position >> 1, last >> 1
        else:
            node = sha256(b"\1", node, sibling)
        position, last = position >> 1, last >> 1
    assert last == 0
    return bind(count, node)


def output_hash(stdout, files):
    return root_of([stdout] + [part for path, content in files for part in (path.encode(), content)])


def check_addresses():
    for name, section in read("addresses.txt").items():
        key = PrivateKey(bytes.fromhex(section["key"]))
        same(f"address of {name}", section["address"], address_of(key.public_key))


def check_tags():
    for text, section in read("tags.txt").items():
        tag = text.removeprefix("depx/").removesuffix("/v1")
        same(text, section["nothing"], tagged(tag))
        same(text, section["abc"], tagged(tag, b"abc"))


def check_trees():
    for count, section in read("merkle.txt").items():
        leaves = [f"leaf {index}".encode() for index in range(int(count))]
        same(f"root of {count}", section["root"], root_of(leaves))
        for index, leaf in enumerate(leaves):
            path = path_of(index, leaves)
            same(f"proof {index} of {count}", section[f"proof {index}"], " ".join(node.hex() for node in path))
            same(f"root by proof {index} of {count}", section["root"], root_by((index, len(leaves), path), leaf))


def check_encodings():
    """That every encoding is the deterministic one, as another encoder makes it; gives the decoded values."""
    values = {}
    for name, section in read("encodings.txt").items():
        encoded = bytes.fromhex(section["bytes"])
        if name.startswith("frame of "):
            message = encode(values[name.removeprefix("frame of ")])
            same(name, section["bytes"], len(message).to_bytes(4, "big") + message)
            continue
        values[name] = cbor2.loads(encoded)
        same(name, section["bytes"], encode(values[name]))
    return values


def encode(value):
    return cbor2.dumps(value, canonical=True)


def check_digests(values):
    digests = read("digests.txt")
    spec, job_signature = values["signed-job-spec"]
    assignment, assignment_signature = values["signed-assignment"]
    result = values["result-core"]
    items, inferences = values["job-output"]
    body = values["receipt-body"]

    job = tagged("job", encode(spec))
    section = digests["job"]
    same("job id", section["id"], job)
    for item in (0, 2):
        same("seed", section[f"seed of item {item}"], tagged("seed", job, item.to_bytes(8, "big")))
    same("input root", section["input root"], root_of(values["item-pack"]))
    same("pack", spec[9][1][0][0].hex(), blake3.blake3(encode(values["item-pack"])).digest())
    proof, job_signature = job_signature
    root = root_by(proof, job)
    same("root of jobs", section["root"], root)
    check_signature("job", section, tagged("job-batch", root), job_signature, spec[1], section["client"])

    section = digests["assignment"]
    same("job of the assignment", assignment[1].hex(), job)
    proof, assignment_signature = assignment_signature
    root = root_by(proof, encode(assignment))
    same("root of assignments", section["root"], root)
    digest = tagged("assignment-batch", root)
    check_signature("assignment", section, digest, assignment_signature, assignment[4], section["coordinator"])

    section = digests["result"]
    vote = tagged("result", encode(result))
    same("result", section["hash"], vote)
    calls = [encode(values[f"host-call-leaf.{name}"]) for name in ("memory", "error", "end")]
    same("host calls", items[0][0][8][1].hex(), root_of(calls))
    for index, (leaf, stdout, files) in enumerate(items):
        same("host calls in the leaf", section[f"host calls of item {index}"], leaf[8][1])
        same("output", section[f"output hash of item {index}"], output_hash(stdout, files))
        same("output in the leaf", leaf[5].hex(), output_hash(stdout, files))
    roots = {
        "output root": (10, [leaf[5] for leaf, _, _ in items]),
        "items root": (12, [encode(leaf) for leaf, _, _ in items]),
        "host calls root": (13, [leaf[8][1] for leaf, _, _ in items]),
        "inference root": (14, [encode(inference) for inference in inferences]),
    }
    for name, (field, leaves) in roots.items():
        same(name, section[name], root_of(leaves))
        same(name, section[name], result[field])
    same("input root", result[9].hex(), root_of(values["item-pack"]))
    snapshot = values["snapshot"]
    same("snapshot", section["snapshot"], tagged("snapshot", encode(snapshot)))
    same("snapshot in the result", result[15].hex(), tagged("snapshot", encode(snapshot)))
    same("module of the snapshot", snapshot[0].hex(), spec[4][1][0][0])
    memory = bytearray(snapshot[1] << 16)
    memory[70_000] = 7
    pages = [bytes(memory[page << 16 : page + 1 << 16]) for page in range(snapshot[1])]
    same("memory root", section["memory root of the snapshot"], root_of(pages))
    same("memory root in the snapshot", snapshot[2].hex(), root_of(pages))
    same("fuel", encode(result[6]).hex(), encode(sum(leaf[3] for leaf, _, _ in items) + result[16]))

    salt = bytes.fromhex(digests["commitment"]["salt"])
    commit = tagged("commit", job, assignment[2], assignment[5], vote, salt)
    same("commitment", digests["commitment"]["commit"], commit)
    same("commitment in the receipt", body[7].hex(), commit)

    section = digests["receipt"]
    same("receipt", section["hash"], tagged("receipt", encode(body)))
    same("session key", section["session key"], sha256(b"certificate"))
    chain_id, contract = assignment[9]
    words = chain_id.to_bytes(32, "big") + contract.rjust(32, b"\0")
    for name in ("signed-receipt.batch", "signed-receipt.alone"):
        body, (proof, signature) = values[name]
        root = root_by(proof, encode(body))
        same(f"root of {name}", digests[name]["root"], root)
        digest = tagged("receipt-batch", words, root)
        check_signature(name, digests[name], digest, signature, body[5], digests[name]["executor"])

    job_part, assignment_part, result_part, salt_part, receipt_part = values["receipt-bundle"]
    whole = [values["signed-job-spec"], values["signed-assignment"], result, salt, values["signed-receipt.batch"]]
    same("bundle", encode(whole).hex(), encode([job_part, assignment_part, result_part, salt_part, receipt_part]))

    section = digests["channel"]
    exporter = bytes.fromhex(section["exporter"])
    for name, role in (("hello.node", 0), ("hello.client", 2), ("welcome.accepted", 1)):
        proof = values[name][1][0] if name == "welcome.accepted" else values[name][1]
        same(name, proof[0].hex(), signer(tagged("channel", bytes([role]), exporter), proof[1]))
    proof = values["hello.node"][1]
    check_signature("channel", section, tagged("channel", b"\0", exporter), proof[1], proof[0], section["node"])


def check_signature(what, section, digest, signature, named, address):
    same(f"signed digest of {what}", section["signed digest"], digest)
    same(f"signature of {what}", section["signature"], signature)
    same(f"signer of {what}", address, signer(digest, signature))
    same(f"signer named by {what}", address, named)


check_addresses()
check_tags()
check_trees()
check_digests(check_encodings())
print(f"{checked} values recomputed, all equal")
