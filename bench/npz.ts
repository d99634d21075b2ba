// Reads the arrays of a NumPy archive (deflated or stored .npy members) for benches on labelled sets.
import { readFileSync } from "node:fs"
import { inflateRawSync } from "node:zlib"

export interface NpyArray {
  readonly shape: ReadonlyArray<number>
  /** Row-major, whatever the file's order was. */
  readonly values: Float64Array
}

/** Members of the archive by name without `.npy`. */
export const readNpz = (path: string): ReadonlyMap<string, NpyArray> => {
  const file = readFileSync(path)
  const members = new Map<string, NpyArray>()
  let end = file.length - 22
  while (file.readUInt32LE(end) !== 0x06054b50) end--
  let entry = file.readUInt32LE(end + 16)
  for (let left = file.readUInt16LE(end + 10); left > 0; left--) {
    const method = file.readUInt16LE(entry + 10)
    const packed = file.readUInt32LE(entry + 20)
    const nameLength = file.readUInt16LE(entry + 28)
    const name = file.toString("utf8", entry + 46, entry + 46 + nameLength)
    const local = file.readUInt32LE(entry + 42)
    const from = local + 30 + file.readUInt16LE(local + 26) + file.readUInt16LE(local + 28)
    const bytes = file.subarray(from, from + packed)
    members.set(name.replace(/\.npy$/, ""), readNpy(method === 8 ? inflateRawSync(bytes) : bytes))
    entry += 46 + nameLength + file.readUInt16LE(entry + 30) + file.readUInt16LE(entry + 32)
  }
  return members
}

const readNpy = (bytes: Buffer): NpyArray => {
  const wide = bytes[6] >= 2
  const headerLength = wide ? bytes.readUInt32LE(8) : bytes.readUInt16LE(8)
  const start = (wide ? 12 : 10) + headerLength
  const header = bytes.toString("latin1", wide ? 12 : 10, start)
  const type = /'descr': '([^']+)'/.exec(header)?.[1] ?? ""
  const columnMajor = header.includes("'fortran_order': True")
  const shape = (/'shape': \(([^)]*)\)/.exec(header)?.[1] ?? "")
    .split(",")
    .filter((part) => part.trim() !== "")
    .map(Number)
  const size = shape.reduce((product, axis) => product * axis, 1)
  const width = Number(type.slice(2))
  const data = bytes.subarray(start)
  const read: Readonly<Record<string, (at: number) => number>> = {
    f8: (at) => data.readDoubleLE(at * 8),
    f4: (at) => data.readFloatLE(at * 4),
    u1: (at) => data[at],
    i4: (at) => data.readInt32LE(at * 4),
    i8: (at) => Number(data.readBigInt64LE(at * 8))
  }
  const at = read[type.slice(1)]
  if (at === undefined) throw new Error(`${type} (${width} bytes) is not a type this reader knows`)
  const values = new Float64Array(size)
  const [rows, columns] = [shape[0], size / shape[0]]
  for (let i = 0; i < size; i++) {
    values[columnMajor ? (i % rows) * columns + Math.floor(i / rows) : i] = at(i)
  }
  return { shape, values }
}
