// The clients of the authorization server: one for each test, which counts the client's requests.

import { X509Certificate, generateKeyPairSync, randomBytes } from 'node:crypto';

/** Every special character that an id and a secret may have (VSCHAR of RFC 6749 appendix A). */
const ODD = ` !"#$%&'()*+,-./:;<=>?@[\\]^_\`{|}~ %3A%2B a+b `;

const CURVES = { ES256: 'P-256', ES384: 'P-384', ES512: 'P-521' };

/** The signature algorithms of assertions. */
export const SIGNATURES = [
  'RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA',
];
export const MACS = ['HS256', 'HS384', 'HS512'];

let rsa;
function keyPair(alg) {
  if (alg === 'EdDSA') return generateKeyPairSync('ed25519');
  if (CURVES[alg]) return generateKeyPairSync('ec', { namedCurve: CURVES[alg] });
  // All clients share one key, because it takes long to generate.
  rsa ??= generateKeyPairSync('rsa', { modulusLength: 2048 });
  return rsa;
}

/** Creates a key. The server signs with such a key too. */
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

/** Returns the public key of a certificate, with the certificate (RFC 8705 section 2.2.2). */
function certified(pem) {
  const certificate = new X509Certificate(pem);
  const jwk = certificate.publicKey.export({ format: 'jwk' });
  return { ...jwk, x5c: [certificate.raw.toString('base64')] };
}

/**
 * Creates the clients by name.
 *
 * `registered` is client metadata (RFC 7591 section 2), and `told` the settings of the client.
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
    // This client sends a valid certificate of another client.
    add('tls-stranger', 'tls_client_auth',
      { tls_client_auth_san_dns: 'stranger.example', ...bound });
  }
  if (certificates.self_signed) {
    add('tls-self-signed', 'self_signed_tls_client_auth',
      { jwks: { keys: [certified(certificates.self_signed)] }, ...bound });
  }
  // This client authenticates with a secret, and its tokens are bound to its certificate.
  basic('tls-bound', bound);

  for (const name of [
    'dpop', 'dpop-keys', 'dpop-required', 'dpop-revoked', 'dpop-revoked-nonce', 'dpop-api-nonce', 'dpop-rotated',
    'dpop-rotated-at-once', 'dpop-rotated-late', 'dpop-opaque', 'dpop-jwt', 'dpop-tls', 'dpop-stolen',
    'dpop-early', 'dpop-late',
    // The token endpoint requires nonces of these clients.
    'dpop-nonce', 'dpop-nonce-at-once', 'dpop-nonce-everywhere',
  ]) basic(name, { dpop_bound_access_tokens: true });
  basic('dpop-optional');
  for (const name of ['dpop-private-key-jwt', 'dpop-private-key-jwt-late']) {
    const { kid, pem, publicJwk } = signingKey('ES256');
    add(name, 'private_key_jwt', { jwks: { keys: [publicJwk] }, dpop_bound_access_tokens: true },
      { alg: 'ES256', kid, private_key: pem });
  }

  // The API, which introspects tokens.
  basic('api');
  return all;
}
