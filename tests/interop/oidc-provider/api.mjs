// An API that validates opaque tokens by introspection (RFC 7662), JWTs by their signature (RFC
// 9068), proofs of possession (RFC 9449), and certificates (RFC 8705 section 3).

import { createHash, randomBytes } from 'node:crypto';

import { EmbeddedJWK, calculateJwkThumbprint, createRemoteJWKSet, jwtVerify } from 'jose';

const PROOF_ALGORITHMS = ['ES256', 'ES384', 'ES512', 'EdDSA', 'RS256', 'PS256'];
/** The most seconds between a proof's `iat` and now. */
const PROOF_WINDOW = 30;

const sha256 = (bytes) => createHash('sha256').update(bytes).digest('base64url');

class Refusal extends Error {
  constructor(status, error, why, headers = {}) {
    super(why);
    Object.assign(this, { status, error, headers });
  }
}

/**
 * Serves `/{kind}/anything` for any method. `kind` says which tokens the path accepts: `plain`
 * (opaque tokens without a resource), `opaque` or `jwt` (tokens for the resource of this name).
 * Below `/nonce`, proofs need a nonce of this API. `?scope=write` requires that scope, and
 * `?refuse` refuses any token.
 */
export class Api {
  #jtis = new Map();
  #nonce = randomBytes(16).toString('base64url');

  constructor({ issuers, resources, client, log }) {
    Object.assign(this, { issuers, resources, client, log });
    // The issuers share their tokens and keys.
    this.keys = createRemoteJWKSet(new URL('/jwks', issuers[0]));
  }

  rotateNonce() {
    this.#nonce = randomBytes(16).toString('base64url');
  }

  async handle(request, response) {
    const url = new URL(request.url, `http${request.socket.encrypted ? 's' : ''}://${request.headers.host}`);
    const entry = { at: 'api', path: url.pathname, method: request.method };
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = Buffer.concat(chunks);
    entry.body = { length: body.length, sha256: sha256(body) };
    let status = 200;
    let content;
    const headers = { 'content-type': 'application/json' };
    try {
      const token = await this.authorize(request, url, entry, headers);
      content = {
        client_id: token.client_id,
        scope: token.scope,
        aud: token.aud,
        cnf: token.cnf,
        scheme: entry.scheme,
        method: request.method,
        body: entry.body,
      };
    } catch (refusal) {
      if (!(refusal instanceof Refusal)) throw refusal;
      ({ status } = refusal);
      Object.assign(headers, refusal.headers);
      const nonceRequired = url.pathname.startsWith('/nonce/');
      const scheme = entry.scheme === 'DPoP' || nonceRequired ? 'DPoP' : 'Bearer';
      const params = { realm: 'interop', error: refusal.error, error_description: refusal.message };
      if (refusal.error === 'insufficient_scope') params.scope = url.searchParams.get('scope');
      if (scheme === 'DPoP') params.algs = PROOF_ALGORITHMS.join(' ');
      // A request without a token gets no description of an error (RFC 6750 section 3.1).
      if (!refusal.error) delete params.error_description;
      headers['www-authenticate'] = `${scheme} ${Object.entries(params)
        .filter(([, value]) => value)
        .map(([name, value]) => `${name}="${value}"`)
        .join(', ')}`;
      content = { error: refusal.error, why: refusal.message };
      entry.why = refusal.message;
    }
    entry.status = status;
    this.log.push(entry);
    response.writeHead(status, headers).end(JSON.stringify(content));
  }

  async authorize(request, url, entry, headers) {
    const [scheme, value, ...rest] = (request.headers.authorization ?? '').split(' ');
    if (!value || rest.length) throw new Refusal(401, undefined, 'no token');
    entry.scheme = { bearer: 'Bearer', dpop: 'DPoP' }[scheme.toLowerCase()];
    if (!entry.scheme) throw new Refusal(401, undefined, 'no token of a known type');
    entry.token = sha256(value);

    const parts = url.pathname.split('/').slice(1);
    const nonce = parts[0] === 'nonce' ? parts.shift() && this.#nonce : undefined;
    const kind = parts[0];
    if (!['plain', ...Object.keys(this.resources)].includes(kind)) throw new Refusal(404, undefined, 'no such path');

    const token = kind === 'jwt' ? await this.verify(value) : await this.introspect(value);
    entry.client_id = token.client_id;
    if (token.aud !== this.resources[kind]) {
      throw new Refusal(401, 'invalid_token', `the token is for ${token.aud ?? 'no resource'}`);
    }
    if (url.searchParams.has('refuse')) throw new Refusal(401, 'invalid_token', 'as was asked for');
    await this.proof(request, url, token, value, entry.scheme, nonce, headers);
    this.certificate(request, token);
    const needed = url.searchParams.get('scope');
    if (needed && !(token.scope ?? '').split(' ').includes(needed)) {
      throw new Refusal(403, 'insufficient_scope', `needs ${needed}`);
    }
    return token;
  }

  async introspect(token) {
    const basic = [this.client.client_id, this.client.client_secret].map(encodeURIComponent).join(':');
    const answer = await fetch(new URL('/token/introspection', this.issuers[0]), {
      method: 'POST',
      headers: { authorization: `Basic ${Buffer.from(basic).toString('base64')}` },
      body: new URLSearchParams({ token }),
    });
    if (!answer.ok) throw new Error(`introspection: ${answer.status} ${await answer.text()}`);
    const content = await answer.json();
    if (!content.active) throw new Refusal(401, 'invalid_token', 'the token is not active');
    return content;
  }

  async verify(token) {
    try {
      const { payload } = await jwtVerify(token, this.keys, {
        issuer: this.issuers,
        audience: this.resources.jwt,
        typ: 'at+jwt',
        requiredClaims: ['exp', 'client_id'],
      });
      return payload;
    } catch (error) {
      throw new Refusal(401, 'invalid_token', error.message);
    }
  }

  async proof(request, url, token, value, scheme, nonce, headers) {
    const bound = token.cnf?.jkt;
    if ((scheme === 'DPoP') !== (bound !== undefined)) {
      throw new Refusal(401, 'invalid_token', `the token is ${bound ? '' : 'not '}bound to a key`);
    }
    if (!bound) {
      if (nonce) throw new Refusal(401, 'invalid_token', 'a token bound to a key is needed');
      return;
    }
    const refuse = (why) => { throw new Refusal(401, 'invalid_dpop_proof', why); };
    // Node joins several headers with commas, which is no valid proof.
    const proof = request.headers.dpop ?? refuse('no proof');
    const { payload, protectedHeader } = await jwtVerify(proof, EmbeddedJWK, {
      typ: 'dpop+jwt',
      algorithms: PROOF_ALGORITHMS,
    }).catch((error) => refuse(error.message));
    if (protectedHeader.jwk.d !== undefined) refuse('the private key is in the proof');
    if (payload.htm !== request.method) refuse(`htm is ${payload.htm}`);
    const here = `${url.origin}${url.pathname}`;
    if (payload.htu !== here) refuse(`htu is ${payload.htu}, not ${here}`);
    if (payload.ath !== sha256(value)) refuse('ath belongs to another token');
    if (!(Math.abs(payload.iat - Date.now() / 1000) <= PROOF_WINDOW)) refuse('iat is not recent');
    if ((await calculateJwkThumbprint(protectedHeader.jwk)) !== bound) refuse('the key is another one');
    if (typeof payload.jti !== 'string' || payload.jti.length < 12) refuse('jti is missing or short');
    this.once(payload.jti, refuse);
    if (nonce) {
      headers['dpop-nonce'] = nonce;
      if (payload.nonce !== nonce) {
        throw new Refusal(401, 'use_dpop_nonce', 'a nonce of this API is needed', { 'dpop-nonce': nonce });
      }
    }
  }

  /** Refuses a proof that was used before (RFC 9449 section 11.1). */
  once(jti, refuse) {
    const now = Date.now() / 1000;
    for (const [known, until] of this.#jtis) if (until < now) this.#jtis.delete(known);
    if (this.#jtis.has(jti)) refuse('the proof was used before');
    this.#jtis.set(jti, now + 2 * PROOF_WINDOW);
  }

  certificate(request, token) {
    const bound = token.cnf?.['x5t#S256'];
    if (!bound) return;
    const certificate = request.socket.getPeerX509Certificate?.();
    if (!certificate) throw new Refusal(401, 'invalid_token', 'no certificate');
    if (sha256(certificate.raw) !== bound) throw new Refusal(401, 'invalid_token', 'another certificate');
  }
}
