// An authorization server (oidc-provider) and an API on loopback, for the tests in tests/interop/.
//
// The first line on standard input is a JSON object, at least `{}`. Two members make both servers
// also listen with TLS; all of their values are PEM:
//
// - `tls`: `key`, `certificate`, and `authority`, which signs the certificates of clients.
// - `certificates`: `authorized` (with `subject_dn` and `san_dns`) and `self_signed`.
//
// The first line on standard output is a JSON object with all that a test needs. The program ends
// when its standard input ends.

import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { createInterface } from 'node:readline';

import { decodeProtectedHeader } from 'jose';
import Provider, { errors } from 'oidc-provider';

import { Api } from './api.mjs';
import { MACS, SIGNATURES, makeClients, signingKey } from './clients.mjs';

// The tests read only the first line of standard output, where the library would print warnings.
console.info = console.error;

// Tests move this clock, so that tokens expire without a wait.
let ahead = 0;
const now = Date.now;
globalThis.Date = class extends Date {
  static now = () => now() + ahead;
  constructor(...given) {
    super(...(given.length ? given : [now() + ahead]));
  }
};

const lines = createInterface({ input: process.stdin });
lines.on('close', () => process.exit(0));
const [line] = await once(lines, 'line');
const { tls, certificates } = JSON.parse(line);

async function listen(secure) {
  const server = secure
    ? https.createServer({
      key: tls.key,
      cert: tls.certificate,
      ca: tls.authority,
      requestCert: true,
      rejectUnauthorized: false,
    })
    : http.createServer();
  server.on('request', (request, response) => {
    // Node would send the time of the clock that does not move.
    response.setHeader('date', new Date().toUTCString());
    const path = request.url;
    if (!path.startsWith('/.well-known/')) return;
    response.on('finish', () => log.push({ at: 'discovery', path, status: response.statusCode }));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { server, origin: `http${secure ? 's' : ''}://127.0.0.1:${server.address().port}` };
}

/** The requests that arrived, in order. */
const log = [];

const [authorization, protectedApi] = [await listen(false), await listen(false)];
const [secureAuthorization, secureApi] = tls ? [await listen(true), await listen(true)] : [];

const clients = makeClients({ certificates });
const resources = { opaque: 'https://api.example/opaque', jwt: 'https://api.example/jwt' };
const signing = signingKey('ES256');

/** Returns the key id that an assertion names. */
function kidOf(assertion) {
  try {
    return decodeProtectedHeader(assertion).kid;
  } catch {
    return undefined;
  }
}

function makeProvider(issuer, aliases) {
  const provider = new Provider(issuer, {
    clients: Object.values(clients).map(({ registered }) => registered),
    clientAuthMethods: [
      'client_secret_basic', 'client_secret_post', 'client_secret_jwt', 'private_key_jwt',
      ...(tls ? ['tls_client_auth', 'self_signed_tls_client_auth'] : []),
    ],
    enabledJWA: {
      clientAuthSigningAlgValues: [...MACS, ...SIGNATURES],
      dPoPSigningAlgValues: ['ES256', 'ES384', 'EdDSA', 'RS256', 'PS256'],
      idTokenSigningAlgValues: ['ES256'],
    },
    clientDefaults: { id_token_signed_response_alg: 'ES256' },
    jwks: { keys: [signing.jwk] },
    cookies: { keys: [randomBytes(16).toString('hex')] },
    scopes: ['read', 'write', 'offline_access'],
    // Each is valid once. A second use revokes the grant.
    rotateRefreshToken: true,
    findAccount: (ctx, accountId) => ({ accountId, claims: () => ({ sub: accountId }) }),
    responseTypes: [],
    ttl: {
      ClientCredentials: (ctx, token) => token.resourceServer?.accessTokenTTL ?? 600,
    },
    discovery: aliases && { mtls_endpoint_aliases: aliases },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      introspection: { enabled: true, allowedPolicy: (ctx, client) => client.clientId === 'api' },
      revocation: { enabled: true },
      dPoP: {
        enabled: true,
        nonceSecret: randomBytes(32),
        requireNonce: (ctx) => ctx.oidc.client?.clientId.startsWith('dpop-nonce') ?? false,
      },
      mTLS: {
        enabled: Boolean(tls),
        certificateBoundAccessTokens: true,
        tlsClientAuth: true,
        selfSignedTlsClientAuth: true,
        getCertificate: (ctx) => ctx.socket.getPeerX509Certificate?.(),
        certificateAuthorized: (ctx) => ctx.socket.authorized,
        certificateSubjectMatches(ctx, property, expected) {
          const certificate = ctx.socket.getPeerX509Certificate();
          switch (property) {
            case 'tls_client_auth_subject_dn':
              // One attribute a line, in the order of the certificate.
              return certificate.subject.split('\n').join(',') === expected;
            case 'tls_client_auth_san_dns':
              return certificate.checkHost(expected, { subject: 'never' }) !== undefined;
            default:
              return false;
          }
        },
      },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo(ctx, indicator) {
          const [kind] = Object.entries(resources).find(([, name]) => name === indicator) ?? [];
          if (!kind) throw new errors.InvalidTarget();
          return {
            audience: indicator,
            scope: 'read write',
            accessTokenTTL: 300,
            accessTokenFormat: kind,
            jwt: kind === 'jwt' ? { sign: { alg: 'ES256' } } : undefined,
          };
        },
      },
    },
  });
  const entry = (ctx, more) => ({
    at: ctx.oidc.route,
    client_id: ctx.oidc.client?.clientId ?? ctx.oidc.params?.client_id,
    kid: kidOf(ctx.oidc.params?.client_assertion),
    ...more,
  });
  provider.on('grant.success', (ctx) => log.push(entry(ctx, { status: 200 })));
  provider.on('grant.error', (ctx, error) => log.push(entry(ctx, {
    status: error.statusCode,
    error: error.error,
    why: error.error_detail ?? error.error_description,
  })));
  provider.on('server_error', (ctx, error) => console.error(error));
  return provider;
}

const issuer = authorization.origin;
const aliases = tls && {
  token_endpoint: `${secureAuthorization.origin}/token`,
  revocation_endpoint: `${secureAuthorization.origin}/token/revocation`,
  introspection_endpoint: `${secureAuthorization.origin}/token/introspection`,
};
const provider = makeProvider(issuer, aliases);
authorization.server.on('request', provider.callback());
secureAuthorization?.server.on('request', makeProvider(secureAuthorization.origin).callback());

/** Returns a refresh token for a client, as if a user had signed in and consented. */
async function grantTo(clientId) {
  const accountId = 'alf';
  const client = await provider.Client.find(clientId);
  const grant = new provider.Grant({ accountId, clientId });
  grant.addOIDCScope('offline_access read');
  const token = new provider.RefreshToken({
    accountId, client, grantId: await grant.save(), gty: 'authorization_code', scope: 'offline_access read',
  });
  return token.save();
}

/** One API on two ports, for the tokens of either issuer. */
const issuers = [authorization, secureAuthorization].flatMap((at) => at?.origin ?? []);
const apis = [protectedApi, secureApi].flatMap((at) => {
  if (!at) return [];
  const api = new Api({ issuers, resources, client: clients.api.registered, log });
  at.server.on('request', (request, response) => {
    const { pathname, searchParams } = new URL(request.url, at.origin);
    if (pathname === '/control/log') {
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(log));
    } else if (pathname === '/control/rotate-nonce') {
      apis.forEach((one) => one.rotateNonce());
      response.writeHead(204).end();
    } else if (pathname === '/control/grant') {
      grantTo(searchParams.get('to')).then((token) => {
        response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(token));
      });
    } else if (pathname === '/control/clock') {
      ahead += 1000 * Number(searchParams.get('ahead'));
      response.writeHead(204).end();
    } else {
      api.handle(request, response).catch((error) => {
        console.error(error);
        response.destroy();
      });
    }
  });
  return [api];
});

const { version } = JSON.parse(readFileSync(new URL('node_modules/oidc-provider/package.json', import.meta.url)));
console.log(JSON.stringify({
  issuer,
  token_endpoint: `${issuer}/token`,
  revocation_endpoint: `${issuer}/token/revocation`,
  introspection_endpoint: `${issuer}/token/introspection`,
  api: protectedApi.origin,
  tls: tls && {
    issuer: secureAuthorization.origin,
    token_endpoint: `${secureAuthorization.origin}/token`,
    api: secureApi.origin,
  },
  resources,
  clients: Object.fromEntries(Object.entries(clients).map(([name, { told }]) => [name, told])),
  versions: { 'oidc-provider': version, node: process.versions.node },
}));
