// Certificates for a trial: an authority of its own, and runners' certificates signed by it. In production files come from elsewhere.
import { generateKeyPairSync, randomBytes } from "node:crypto"
import { isIP } from "node:net"
import forge from "node-forge"

const KEY_BITS = 3_072
const DAY_MILLIS = 86_400_000
/** Clocks of machines differ: a certificate holds from a little before it is made. */
const EARLIER_MILLIS = 300_000

/** A certificate and its key, in PEM. */
export interface Pair {
  readonly certificate: string
  readonly key: string
}

interface Made {
  readonly now: number
  readonly days: number
}

/** Keys come from Node's own cryptography; forge writes and signs the certificate. */
const keyPair = () => {
  const { privateKey, publicKey } = generateKeyPairSync("rsa", {
    modulusLength: KEY_BITS,
    privateKeyEncoding: { type: "pkcs8", format: "pem" },
    publicKeyEncoding: { type: "spki", format: "pem" }
  })
  return { key: privateKey, publicKey: forge.pki.publicKeyFromPem(publicKey) }
}

/** A positive number: a first bit that is set would make it negative. */
const serial = (): string => `1${randomBytes(15).toString("hex")}`

const unsignedCertificate = (publicKey: forge.pki.PublicKey, commonName: string, { now, days }: Made) => {
  const certificate = forge.pki.createCertificate()
  certificate.publicKey = publicKey
  certificate.serialNumber = serial()
  certificate.validity.notBefore = new Date(now - EARLIER_MILLIS)
  certificate.validity.notAfter = new Date(now + days * DAY_MILLIS)
  certificate.setSubject([{ name: "commonName", value: commonName }])
  return certificate
}

/** An authority that signs nothing but certificates of runners: no further authority can stand below it. */
export const makeAuthority = (commonName: string, made: Made): Pair => {
  const { key, publicKey } = keyPair()
  const certificate = unsignedCertificate(publicKey, commonName, made)
  certificate.setIssuer(certificate.subject.attributes)
  certificate.setExtensions([
    { name: "basicConstraints", cA: true, pathLenConstraint: 0, critical: true },
    { name: "keyUsage", keyCertSign: true, cRLSign: true, critical: true },
    { name: "subjectKeyIdentifier" }
  ])
  certificate.sign(forge.pki.privateKeyFromPem(key), forge.md.sha256.create())
  return { certificate: forge.pki.certificateToPem(certificate), key }
}

/** A certificate for both ends of a connection, under these names and addresses. */
export const makeCertificate = (
  authority: Pair,
  commonName: string,
  hosts: ReadonlyArray<string>,
  made: Made
): Pair => {
  const issuer = forge.pki.certificateFromPem(authority.certificate)
  const { key, publicKey } = keyPair()
  const certificate = unsignedCertificate(publicKey, commonName, made)
  certificate.setIssuer(issuer.subject.attributes)
  certificate.setExtensions([
    { name: "basicConstraints", cA: false, critical: true },
    { name: "keyUsage", digitalSignature: true, critical: true },
    { name: "extKeyUsage", serverAuth: true, clientAuth: true },
    {
      name: "subjectAltName",
      altNames: hosts.map((host) => (isIP(host) === 0 ? { type: 2, value: host } : { type: 7, ip: host }))
    },
    { name: "subjectKeyIdentifier" },
    { name: "authorityKeyIdentifier", keyIdentifier: issuer.generateSubjectKeyIdentifier().getBytes() }
  ])
  certificate.sign(forge.pki.privateKeyFromPem(authority.key), forge.md.sha256.create())
  return { certificate: forge.pki.certificateToPem(certificate), key }
}
