#!/usr/bin/env python3
"""Writes a copy of an OCI image layout, as a tar, whose commands run as another user.

usage: with_user.py INPUT.tar OUTPUT.tar USER
"""
import hashlib
import io
import json
import sys
import tarfile

source, target, user = sys.argv[1:]


def find(layout, descriptor):
    return json.load(layout.extractfile("blobs/sha256/" + descriptor["digest"].removeprefix("sha256:")))


with tarfile.open(source) as layout, tarfile.open(target, "w") as out:

    def add(name, content):
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        out.addfile(entry, io.BytesIO(content))

    def add_blob(descriptor, document):
        content = json.dumps(document).encode()
        digest = hashlib.sha256(content).hexdigest()
        add("blobs/sha256/" + digest, content)
        return descriptor | {"digest": "sha256:" + digest, "size": len(content)}

    index = json.load(layout.extractfile("index.json"))
    manifest = find(layout, index["manifests"][0])
    config = find(layout, manifest["config"])
    config["config"]["User"] = user
    for layer in manifest["layers"]:
        name = "blobs/sha256/" + layer["digest"].removeprefix("sha256:")
        out.addfile(layout.getmember(name), layout.extractfile(name))
    manifest["config"] = add_blob(manifest["config"], config)
    index["manifests"] = [add_blob(index["manifests"][0], manifest)]
    add("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
    add("index.json", json.dumps(index).encode())
