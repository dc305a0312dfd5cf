//! Example keys and signatures from RFCs.

/// RFC 7515 appendix A.2.1
pub const RSA: &str = concat!(
    r#"{"kty":"RSA","e":"AQAB","#,
    r#""n":""#,
    "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-",
    "Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-",
    "pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-",
    "bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-",
    "UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-",
    "DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
    r#"","#,
    r#""d":""#,
    "Eq5xpGnNCivDflJsRQBXHx1hdR1k6Ulwe2JZD50LpXyWPEAeP88vLNO97IjlA7_GQ5sLKMgvfTeX",
    "Zx9SE-7YwVol2NXOoAJe46sui395IW_GO-pWJ1O0BkTGoVEn2bKVRUCgu-GjBVaYLU6f3l9kJfFN",
    "S3E0QbVdxzubSu3Mkqzjkn439X0M_V51gfpRLI9JYanrC4D4qAdGcopV_0ZHHzQlBjudU2QvXt4e",
    "hNYTCBr6XCLQUShb1juUO1ZdiYoFaFQT5Tw8bGUl_x_jTj3ccPDVZFD9pIuhLhBOneufuBiB4cS9",
    "8l2SR_RQyGWSeWjnczT0QU91p1DhOVRuOopznQ",
    r#"","#,
    r#""p":""#,
    "4BzEEOtIpmVdVEZNCqS7baC4crd0pqnRH_5IB3jw3bcxGn6QLvnEtfdUdiYrqBdss1l58BQ3Khoo",
    "KeQTa9AB0Hw_Py5PJdTJNPY8cQn7ouZ2KKDcmnPGBY5t7yLc1QlQ5xHdwW1VhvKn-",
    "nXqhJTBgIPgtldC-KDV5z-y2XDwGUc",
    r#"","#,
    r#""q":""#,
    "uQPEfgmVtjL0Uyyx88GZFF1fOunH3-",
    "7cepKmtH4pxhtCoHqpWmT8YAmZxaewHgHAjLYsp1ZSe7zFYHj7C6ul7TjeLQeZD_YwD66t62wDmp",
    "e_HlB-TnBA-njbglfIsRLtXlnDzQkv5dTltRJ11BKBBypeeF6689rjcJIDEz9RWdc",
    r#"","#,
    r#""dp":""#,
    "BwKfV3Akq5_MFZDFZCnW-wzl-",
    "CCo83WoZvnLQwCTeDv8uzluRSnm71I3QCLdhrqE2e9YkxvuxdBfpT_PI7Yz-FOKnu1R6HsJeDCjn",
    "12Sk3vmAktV2zb34MCdy7cpdTh_YVr7tss2u6vneTwrA86rZtu5Mbr1C1XsmvkxHQAdYo0",
    r#"","#,
    r#""dq":""#,
    "h_96-",
    "mK1R_7glhsum81dZxjTnYynPbZpHziZjeeHcXYsXaaMwkOlODsWa7I9xXDoRwbKgB719rrmI2oKr",
    "6N3Do9U0ajaHF-",
    "NKJnwgjMd2w9cjz3_-kyNlxAr2v4IKhGNpmM5iIgOS1VZnOZ68m6_pbLBSp3nssTdlqvd0tIiTHU",
    r#"","#,
    r#""qi":""#,
    "IYd7DHOhrWvxkwPQsRM2tOgrjbcrfvtQJipd-DlcxyVuuM9sQLdgjVk2oy26F0EmpScGLq2MowX7",
    "fhd_QJQ3ydy5cY7YIBi87w93IKLEdfnbJtoOPLUW0ITrJReOgo1cq9SbsxYawBgfp_gh6A5603k2",
    "-ZQwVK0JKSHuLFkuQ3U",
    r#""}"#,
);

/// RFC 7515 appendix A.2.1: header and claims.
pub(super) const RS256_INPUT: &str = concat!(
    "eyJhbGciOiJSUzI1NiJ9.",
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFt",
    "cGxlLmNvbS9pc19yb290Ijp0cnVlfQ",
);

/// RFC 7515 appendix A.2.1: the signature.
pub(super) const RS256_SIGNATURE: &str = concat!(
    "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7",
    "AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4",
    "BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K",
    "0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqv",
    "hJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrB",
    "p0igcN_IoypGlUPQGe77Rw",
);

/// RFC 7515 appendix A.3.1
pub const P256: &str = r#"{"kty":"EC","crv":"P-256",
    "x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    "d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}"#;

/// RFC 8037 appendix A.1
pub(super) const ED25519: &str = r#"{"kty":"OKP","crv":"Ed25519",
    "d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
    "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

/// RFC 8037 appendix A.3
pub(super) const ED25519_THUMBPRINT: &str = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k";

/// RFC 8037 appendix A.4: header and payload.
pub(super) const EDDSA_INPUT: &str = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";

/// RFC 8037 appendix A.4: the signature.
pub(super) const EDDSA_SIGNATURE: &str =
    "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";

/// RFC 7638 section 3.1: of the public part of `RSA_WITH_KID`.
pub const RSA_THUMBPRINT: &str = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs";

/// RFC 7517 appendix A.2
pub const RSA_WITH_KID: &str = concat!(
    r#"{"kty":"RSA","alg":"RS256","kid":"2011-04-29","e":"AQAB","#,
    r#""n":""#,
    "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxu",
    "hDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-",
    "5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-",
    "65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpb",
    "ISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-",
    "G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
    r#"","#,
    r#""d":""#,
    "X4cTteJY_gn4FYPsXB8rdXix5vwsg1FLN5E3EaG6RJoVH-HLLKD9M7dx5oo7GURknchnrRweUkC7",
    "hT5fJLM0WbFAKNLWY2vv7B6NqXSzUvxT0_YSfqijwp3RTzlBaCxWp4doFk5N2o8Gy_nHNKroADIk",
    "J46pRUohsXywbReAdYaMwFs9tv8d_cPVY3i07a3t8MN6TNwm0dSawm9v47UiCl3Sk5ZiG7xojPLu",
    "4sbg1U2jx4IBTNBznbJSzFHK66jT8bgkuqsk0GjskDJk19Z4qwjwbsnn4j2WBii3RL-",
    "Us2lGVkY8fkFzme1z0HbIkfz0Y6mqnOYtqc0X4jfcKoAC8Q",
    r#"","#,
    r#""p":""#,
    "83i-7IvMGXoMXCskv73TKr8637FiO7Z27zv8oj6pbWUQyLPQBQxtPVnwD20R-",
    "60eTDmD2ujnMt5PoqMrm8RfmNhVWDtjjMmCMjOpSXicFHj7XOuVIYQyqVWlWEh6dN36GVZYk93N8",
    "Bc9vY41xy8B9RzzOGVQzXvNEvn7O0nVbfs",
    r#"","#,
    r#""q":""#,
    "3dfOR9cuYq-0S-",
    "mkFLzgItgMEfFzB2q3hWehMuG0oCuqnb3vobLyumqjVZQO1dIrdwgTnCdpYzBcOfW5r370AFXjiW",
    "ft_NGEiovonizhKpo9VVS78TzFgxkIdrecRezsZ-",
    "1kYd_s1qDbxtkDEgfAITAG9LUnADun4vIcb6yelxk",
    r#"","#,
    r#""dp":""#,
    "G4sPXkc6Ya9y8oJW9_ILj4xuppu0lzi_H7VTkS8xj5SdX3coE0oimYwxIi2emTAue0UOa5dpgFGy",
    "BJ4c8tQ2VF402XRugKDTP8akYhFo5tAA77Qe_NmtuYZc3C3m3I24G2GvR5sSDxUyAN2zq8Lfn9EU",
    "ms6rY3Ob8YeiKkTiBj0",
    r#"","#,
    r#""dq":""#,
    "s9lAH9fggBsoFR8Oac2R_E2gw282rT2kGOAhvIllETE1efrA6huUUvMfBcMpn8lqeW6vzznYY5SS",
    "QF7pMdC_agI3nG8Ibp1BUb0JUiraRNqUfLhcQb_d9GF4Dh7e74WbRsobRonujTYN1xCaP6TO61jv",
    "WrX-L18txXw494Q_cgk",
    r#"","#,
    r#""qi":""#,
    "GyM_p6JrXySiz1toFgKbWV-",
    "JdI3jQ4ypu9rbMWx3rQJBfmt0FoYzgUIZEVFEcOqwemRN81zoDAaa-",
    "Bk0KWNGDjJHZDdDmFhW3AN7lI-",
    "puxk_mHZGJ11rxyR8O55XLSe3SPmRfKwZI6yU24ZxvQKFYItdldUKGzO6Ia6zTKhAVRU",
    r#""}"#,
);

/// openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-521
#[cfg(feature = "aws-lc-rs")]
pub(super) const P521_PEM: &str = "\
-----BEGIN PRIVATE KEY-----
MIHuAgEAMBAGByqGSM49AgEGBSuBBAAjBIHWMIHTAgEBBEIAsV4ken8xmZOHJDz0
/d12BQ96u0OjnZbtQpjgUOoEkVIB3N6rv3g5o9QbfqmGyMa8rIOrTBMN4o9aZcIC
vkiZUxihgYkDgYYABABx3NNbmf09fnfwS+7jhYl+ubk73nNvm8O5pv6uKXRcvfgt
q/LtK3q1b5c9GNoiAYf7KBto2LVKddwcIDzIc/zsuABMSNGPFf5ScGA3SMLgPwp5
RfhRX8waRbE46DK7taebl2MpnhbP4Ve11rEEyBHXZMxQ/uI5YvZfdBDlMdy0AOn1
OQ==
-----END PRIVATE KEY-----
";

/// openssl req -x509 -newkey ed25519 -nodes -subj /CN=client
pub(super) const CERTIFICATE: &str = "\
-----BEGIN CERTIFICATE-----
MIIBODCB66ADAgECAhQcMRWCtip0maqSX/pe4gMl2SrZWzAFBgMrZXAwETEPMA0G
A1UEAwwGY2xpZW50MCAXDTI2MTEyODIzNDUyOVoYDzIxMjYxMTA0MjM0NTI5WjAR
MQ8wDQYDVQQDDAZjbGllbnQwKjAFBgMrZXADIQCqeEhyQzcvWg0M2bgYZV3rvS7w
JRDS2kc80XVQUeAmO6NTMFEwHQYDVR0OBBYEFDSvIXcVCQli3IrZbKIopy1moYao
MB8GA1UdIwQYMBaAFDSvIXcVCQli3IrZbKIopy1moYaoMA8GA1UdEwEB/wQFMAMB
Af8wBQYDK2VwA0EATy1hIIxIhoME9WkSAmmsJKP81vStyMC6unDLSz4j+GXTrDOO
iRRLIZRgWTNRRionWLAX1vQnsa/sCtlLeFOdBQ==
-----END CERTIFICATE-----
";

/// openssl x509 -outform der | openssl dgst -sha1 -binary, in base64url.
pub(super) const CERTIFICATE_SHA1: &str = "OzLeE0aaQ27twtzJjODB1ry7JGg";

/// openssl x509 -outform der | openssl dgst -sha256 -binary, in base64url.
pub(super) const CERTIFICATE_SHA256: &str = "q9nlhLD1jqVkih7yXWddwjfDxL39219C4XilfNBJwiA";
