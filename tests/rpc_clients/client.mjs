// connect-node in its three protocols, over HTTP/1.1 and HTTP/2, in binary and JSON. usage: client.mjs URL
import assert from "node:assert/strict";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import {
  compressionGzip,
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import { EchoService } from "./gen/echo_pb.js";

const baseUrl = process.argv[2];
const transports = [];
for (const [useBinaryFormat, packs] of [[true, false], [false, false], [true, true]]) {
  const format = (useBinaryFormat ? "binary" : "JSON") + (packs ? " gzip" : "");
  const packing = packs
    ? { sendCompression: compressionGzip, compressMinBytes: 1 }
    : { acceptCompression: [] };
  for (const httpVersion of ["1.1", "2"]) {
    const options = { baseUrl, httpVersion, useBinaryFormat, ...packing };
    transports.push([`connect ${format} HTTP/${httpVersion}`, createConnectTransport(options), httpVersion]);
    transports.push([`grpc-web ${format} HTTP/${httpVersion}`, createGrpcWebTransport(options), httpVersion]);
  }
  const options = { baseUrl, httpVersion: "2", useBinaryFormat, ...packing };
  transports.push([`grpc ${format} HTTP/2`, createGrpcTransport(options), "2"]);
}

async function failure(promise) {
  try {
    await promise;
  } catch (error) {
    return ConnectError.from(error);
  }
  assert.fail("the call should have failed");
}

async function* texts(...all) {
  for (const text of all) yield { text };
}

async function unary(client, packs) {
  let header = null;
  const response = await client.echo({ text: "héllo" }, { onHeader: (h) => (header = h.get("x-echo")) });
  assert.equal(response.text, "héllo");
  assert.equal(header, "yes");
  const data = new Uint8Array(1_000_000).map((_, i) => i % 251);
  let packed = null;
  const onHeader = (h) => (packed = h.get("content-encoding") ?? h.get("grpc-encoding"));
  const big = await client.echo({ data }, { onHeader });
  assert.deepEqual(Buffer.from(big.data), Buffer.from(data));
  assert.equal(packed === "gzip", packs);
}

async function errors(client) {
  const error = await failure(client.fail({ code: "lockfile_violation", message: "näh: 100%" }));
  assert.equal(error.code, Code.PermissionDenied);
  assert.equal(error.rawMessage, "lockfile_violation: näh: 100%");
  assert.equal(error.details.length, 1);
  const detail = error.details[0];
  assert.equal(detail.type, "cleanroom.v1.ErrorDetail");
  // Field 1, the code.
  assert.equal(Buffer.from(detail.value).subarray(2, 20).toString(), "lockfile_violation");
  const large = await failure(client.echo({ data: new Uint8Array(5_000_000) }));
  assert.equal(large.code, Code.ResourceExhausted);
}

async function serverStream(client) {
  const numbers = [];
  for await (const response of client.count({ count: 500n })) numbers.push(response.number);
  assert.equal(numbers.length, 500);
  assert.equal(numbers[499], 500n);
  let seen = 0;
  const iterate = async () => {
    for await (const _ of client.count({ count: 2n, failCode: "not_found" })) seen += 1;
  };
  assert.equal((await failure(iterate())).code, Code.NotFound);
  assert.equal(seen, 2);
}

async function clientStream(client) {
  const sum = await client.sum(texts("a", "bc", "def"));
  assert.equal(sum.messages, 3n);
  assert.equal(sum.bytes, 6n);
}

async function bidi(client) {
  // Full duplex: each message is sent only after the answer to the one before.
  let answered = () => {};
  async function* inTurn() {
    for (const text of ["one", "two", "three"]) {
      const turn = new Promise((resolve) => (answered = resolve));
      yield { text };
      await turn;
    }
  }
  const got = [];
  for await (const response of client.talk(inTurn())) {
    got.push(response.text);
    answered();
  }
  assert.deepEqual(got, ["one", "two", "three"]);
}

async function deadline(client) {
  assert.equal((await failure(client.hang({}, { timeoutMs: 50 }))).code, Code.DeadlineExceeded);
}

async function cancel(client) {
  const abort = new AbortController();
  const call = failure(client.hang({}, { signal: abort.signal }));
  setImmediate(() => abort.abort());
  assert.equal((await call).code, Code.Canceled);
}

let checks = 0;
let failures = 0;
for (const [name, transport, httpVersion] of transports) {
  const client = createClient(EchoService, transport);
  const cases = [unary, errors, serverStream, clientStream, deadline, cancel];
  if (httpVersion === "2") cases.push(bidi);
  for (const check of cases) {
    checks += 1;
    try {
      await check(client, name.includes("gzip"));
    } catch (error) {
      failures += 1;
      console.log(`FAILED ${name}: ${check.name}: ${error.stack}`);
    }
  }
}
console.log(`connect-node: ${checks} checks, ${failures} failures`);
process.exit(failures === 0 ? 0 : 1);
