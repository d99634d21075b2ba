// Decompresses the records of a Kafka record batch, never beyond a limit. Formats: KIP-110, and what the
// Java client writes: gzip members, snappy in snappy-java's blocks, LZ4 frames, zstd frames.
import * as zlib from "node:zlib"
import { Decompress } from "fzstd"
import { decompressFrameSync } from "lz4-napi"
import { uncompressSync } from "snappy"

/** Why a batch could not be decompressed; becomes `UnreadableRecords.reason`. */
export class CodecFailure extends Error {
  readonly reason: "undecodable-batch" | "too-large"
  constructor(reason: "undecodable-batch" | "too-large", detail: string) {
    super(detail)
    this.reason = reason
  }
}

/** Names of the codecs by their number in a batch's attributes. */
export const codecNames: ReadonlyArray<string> = ["none", "gzip", "snappy", "lz4", "zstd"]

const tooLarge = (codec: string, limit: number) =>
  new CodecFailure("too-large", `a ${codec} batch grows beyond ${limit} bytes`)

const broken = (codec: string, cause: unknown) =>
  new CodecFailure(
    "undecodable-batch",
    `a ${codec} batch could not be decompressed: ${cause instanceof Error ? cause.message : String(cause)}`
  )

const asBuffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)

const isOverflow = (cause: unknown): boolean =>
  cause instanceof Error && "code" in cause && cause.code === "ERR_BUFFER_TOO_LARGE"

const gunzip = (bytes: Uint8Array, limit: number): Uint8Array => {
  const view = asBuffer(bytes)
  // The trailer names the size of the last member; an honest bomb is refused before any work.
  if (view.length >= 18 && view.readUInt32LE(view.length - 4) > limit) throw tooLarge("gzip", limit)
  try {
    return zlib.gunzipSync(view, { maxOutputLength: limit })
  } catch (cause) {
    throw isOverflow(cause) ? tooLarge("gzip", limit) : broken("gzip", cause)
  }
}

/** Length that a raw snappy block announces; it starts the block as a varint. */
const snappyLength = (bytes: Uint8Array): number => {
  let length = 0
  let scale = 1
  for (let i = 0; i < 5 && i < bytes.length; i++) {
    length += (bytes[i] & 127) * scale
    if (bytes[i] < 128) return length
    scale *= 128
  }
  throw broken("snappy", "its length is cut off")
}

const snappyBlock = (bytes: Uint8Array): Uint8Array => {
  try {
    const out = uncompressSync(asBuffer(bytes), { asBuffer: true })
    return typeof out === "string" ? Buffer.from(out) : out
  } catch (cause) {
    throw broken("snappy", cause)
  }
}

/** `\x82SNAPPY\0`, a version and a compatible version, then blocks, each after its length. */
const snappyHeader = [0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0]

const unsnappy = (bytes: Uint8Array, limit: number): Uint8Array => {
  const framed = bytes.length >= 16 && snappyHeader.every((byte, i) => bytes[i] === byte)
  if (!framed) {
    if (snappyLength(bytes) > limit) throw tooLarge("snappy", limit)
    return snappyBlock(bytes)
  }
  const view = asBuffer(bytes)
  let total = 0
  for (let at = 16; at < view.length; ) {
    const length = at + 4 <= view.length ? view.readInt32BE(at) : -1
    if (length < 0 || at + 4 + length > view.length) throw broken("snappy", "a block is cut off")
    total += snappyLength(view.subarray(at + 4, at + 4 + length))
    if (total > limit) throw tooLarge("snappy", limit)
    at += 4 + length
  }
  const out = new Uint8Array(total)
  let filled = 0
  for (let at = 16; at < view.length; ) {
    const length = view.readInt32BE(at)
    const block = snappyBlock(view.subarray(at + 4, at + 4 + length))
    if (filled + block.length > total) throw broken("snappy", "a block is longer than announced")
    out.set(block, filled)
    filled += block.length
    at += 4 + length
  }
  return out
}

const LZ4_MAGIC = 0x184d2204
const lz4BlockSizes = [0, 0, 0, 0, 65_536, 262_144, 1_048_576, 4_194_304]

/** Most bytes that an LZ4 frame can grow to, by its header and its blocks. */
const lz4Bound = (view: Buffer): number => {
  if (view.length < 7 || view.readUInt32LE(0) !== LZ4_MAGIC) throw broken("lz4", "it is not an LZ4 frame")
  const flags = view[4]
  const blockSize = lz4BlockSizes[(view[5] >> 4) & 7]
  if (blockSize === 0) throw broken("lz4", "its block size is unknown")
  const hasSize = (flags & 8) !== 0
  const blockChecksum = (flags & 16) !== 0 ? 4 : 0
  let at = 7 + (hasSize ? 8 : 0) + ((flags & 1) !== 0 ? 4 : 0)
  let bound = 0
  for (;;) {
    if (at + 4 > view.length) throw broken("lz4", "a block is cut off")
    const word = view.readUInt32LE(at)
    if (word === 0) break
    const length = word & 0x7fffffff
    // A block of n bytes cannot grow beyond 255 · n: each byte of a match length adds at most 255.
    bound += word >= 0x80000000 ? length : Math.min(blockSize, length * 255)
    at += 4 + length + blockChecksum
  }
  return bound
}

const unlz4 = (bytes: Uint8Array, limit: number): Uint8Array => {
  const view = asBuffer(bytes)
  if (lz4Bound(view) > limit) throw tooLarge("lz4", limit)
  try {
    return decompressFrameSync(view)
  } catch (cause) {
    throw broken("lz4", cause)
  }
}

type ZstdSync = (bytes: Uint8Array, options: { readonly maxOutputLength: number }) => Uint8Array

/** Node has zstd from 22.15 on; before that a decoder in JavaScript does the work. */
const nativeZstd = (zlib as { readonly zstdDecompressSync?: ZstdSync }).zstdDecompressSync

const unzstd = (bytes: Uint8Array, limit: number): Uint8Array => {
  if (nativeZstd !== undefined) {
    try {
      return nativeZstd(bytes, { maxOutputLength: limit })
    } catch (cause) {
      throw isOverflow(cause) ? tooLarge("zstd", limit) : broken("zstd", cause)
    }
  }
  const parts: Array<Uint8Array> = []
  let total = 0
  try {
    const stream = new Decompress((part) => {
      total += part.length
      if (total > limit) throw tooLarge("zstd", limit)
      parts.push(part.slice())
    })
    stream.push(bytes, true)
  } catch (cause) {
    throw cause instanceof CodecFailure ? cause : broken("zstd", cause)
  }
  return parts.length === 1 ? parts[0] : Buffer.concat(parts, total)
}

/**
 * The records of a batch whose attributes name `codec` (1 gzip, 2 snappy, 3 lz4, 4 zstd), at most `limit`
 * bytes. Throws `CodecFailure` where the codec is unknown, the bytes are broken or the result is too large.
 */
export const decompress = (codec: number, bytes: Uint8Array, limit: number): Uint8Array => {
  switch (codec) {
    case 1:
      return gunzip(bytes, limit)
    case 2:
      return unsnappy(bytes, limit)
    case 3:
      return unlz4(bytes, limit)
    case 4:
      return unzstd(bytes, limit)
    default:
      throw new CodecFailure("undecodable-batch", `codec ${codec} is unknown`)
  }
}
