// The clients that the authorization server knows: one for each test, so that its log can be read by client.

import { X509Certificate, generateKeyPairSync, randomBytes } from 'node:crypto';

/** What RFC 6749 appendix A allows in an id and a secret (VSCHAR), as awkward as it comes. */
const ODD = ` !"#$%&'()*+,-./:;<=>?@[\\]^_\`{|}~ %3A%2B a+b `;

const CURVES = { ES256: 'P-256', ES384: 'P-384', ES512: 'P-521' };

/** An algorithm and a key for it, of the smallest size that it allows. */
export const SIGNATURES = [
  'RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA',
];
export const MACS = ['HS256', 'HS384', 'HS512'];

let rsa;
function keyPair(alg) {
  if (alg === 'EdDSA') return generateKeyPairSync('ed25519');
  if (CURVES[alg]) return generateKeyPairSync('ec', { namedCurve: CURVES[alg] });
  // One for all: they take long to make, and nothing here depends on their being different.
  rsa ??= generateKeyPairSync('rsa', { modulusLength: 2048 });
  return rsa;
}

/** For the server's own signatures too. */
export function signingKey(alg) {
  const { privateKey, publicKey } = keyPair(alg);
  const kid = `${alg}-${randomBytes(4).toString('hex')}`;
  return {
    kid,
    pem: privateKey.export({ type: 'pkcs8', format: 'pem' }),
    jwk: { ...privateKey.export({ format: 'jwk' }), kid, alg, use: 'sig' },
    publicJwk: { ...publicKey.export({ format: 'jwk' }), kid, alg, use: 'sig' },
  };
}

const secret = () => randomBytes(48).toString('base64url');

/** A client's public key with the certificate that it came in (RFC 8705 section 2.2.2). */
function certified(pem) {
  const certificate = new X509Certificate(pem);
  const jwk = certificate.publicKey.export({ format: 'jwk' });
  return { ...jwk, x5c: [certificate.raw.toString('base64')] };
}

/**
 * What to register, and what to tell the test, by name.
 *
 * `registered` is client metadata (RFC 7591 section 2), `told` what the client itself has to know.
 */
export function makeClients({ certificates = {} } = {}) {
  const all = {};
  const add = (name, method, registered, told = {}) => {
    const client_id = registered.client_id ?? name;
    all[name] = {
      registered: {
        client_id,
        token_endpoint_auth_method: method,
        grant_types: ['client_credentials'],
        redirect_uris: [],
        response_types: [],
        scope: 'read write',
        ...registered,
      },
      told: { client_id, method, client_secret: registered.client_secret, ...told },
    };
  };
  const basic = (name, more) =>
    add(name, 'client_secret_basic', { client_secret: secret(), ...more });

  add('odd-basic', 'client_secret_basic', { client_id: `basic${ODD}`, client_secret: `s${ODD}` });
  add('odd-post', 'client_secret_post', { client_id: `post${ODD}`, client_secret: `s${ODD}` });
  add('post', 'client_secret_post', { client_secret: secret() });
  for (const name of [
    'basic', 'concurrent', 'wrong-secret', 'opaque', 'jwt', 'two-resources', 'unknown-resource', 'scoped',
    'revoked', 'revoked-at-once', 'refused', 'expired', 'expired-at-the-server', 'renewed', 'over-tls',
    'discovered', 'expired-jwt', 'unknown-scope',
  ]) basic(name);
  basic('bad-scope', { scope: 'read' });
  for (const name of ['refreshed', 'refreshed-by-many']) {
    basic(name, { grant_types: ['refresh_token'], scope: 'offline_access read' });
  }

  for (const alg of MACS) {
    add(`secret-jwt-${alg}`, 'client_secret_jwt',
      { client_secret: secret(), token_endpoint_auth_signing_alg: alg }, { alg });
  }
  for (const alg of SIGNATURES) {
    const { kid, pem, publicJwk } = signingKey(alg);
    add(`private-key-jwt-${alg}`, 'private_key_jwt',
      { jwks: { keys: [publicJwk] }, token_endpoint_auth_signing_alg: alg },
      { alg, kid, private_key: pem });
  }

  for (const name of ['audience', 'twice', 'stranger', 'key-file', 'late', 'early', 'discovered']) {
    const { kid, pem, publicJwk } = signingKey('ES256');
    add(`assertion-${name}`, 'private_key_jwt', { jwks: { keys: [publicJwk] } }, { kid, private_key: pem });
  }
  {
    const keys = [signingKey('ES256'), signingKey('EdDSA')];
    add('assertion-rotated', 'private_key_jwt', { jwks: { keys: keys.map(({ publicJwk }) => publicJwk) } },
      { keys: keys.map(({ kid, jwk }) => ({ kid, jwk: JSON.stringify(jwk) })) });
  }
  for (const name of ['secret-jwt-audience', 'secret-jwt-wrong']) {
    add(name, 'client_secret_jwt', { client_secret: secret() });
  }

  const bound = { tls_client_certificate_bound_access_tokens: true };
  if (certificates.authorized) {
    add('tls-subject', 'tls_client_auth',
      { tls_client_auth_subject_dn: certificates.subject_dn, ...bound });
    add('tls-dns', 'tls_client_auth',
      { tls_client_auth_san_dns: certificates.san_dns, ...bound });
    add('tls-jwt', 'tls_client_auth',
      { tls_client_auth_san_dns: certificates.san_dns, ...bound });
    add('tls-discovered', 'tls_client_auth',
      { tls_client_auth_san_dns: certificates.san_dns, ...bound });
    // Its certificate is genuine, and another's.
    add('tls-stranger', 'tls_client_auth',
      { tls_client_auth_san_dns: 'stranger.example', ...bound });
  }
  if (certificates.self_signed) {
    add('tls-self-signed', 'self_signed_tls_client_auth',
      { jwks: { keys: [certified(certificates.self_signed)] }, ...bound });
  }
  // Says who it is with a secret; its tokens are bound to its certificate all the same.
  basic('tls-bound', bound);

  for (const name of [
    'dpop', 'dpop-keys', 'dpop-required', 'dpop-revoked', 'dpop-revoked-nonce', 'dpop-api-nonce', 'dpop-rotated',
    'dpop-rotated-at-once', 'dpop-rotated-late', 'dpop-opaque', 'dpop-jwt', 'dpop-tls', 'dpop-stolen',
    'dpop-early', 'dpop-late',
    // The token endpoint wants nonces of those.
    'dpop-nonce', 'dpop-nonce-at-once', 'dpop-nonce-everywhere',
  ]) basic(name, { dpop_bound_access_tokens: true });
  basic('dpop-optional');
  for (const name of ['dpop-private-key-jwt', 'dpop-private-key-jwt-late']) {
    const { kid, pem, publicJwk } = signingKey('ES256');
    add(name, 'private_key_jwt', { jwks: { keys: [publicJwk] }, dpop_bound_access_tokens: true },
      { alg: 'ES256', kid, private_key: pem });
  }

  // The API, which asks about tokens.
  basic('api');
  return all;
}
