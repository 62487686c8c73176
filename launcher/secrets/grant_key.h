/*
 * The key that nginx signs grants with (nginx/grant.js): it follows from a secret, so that a grant
 * lives as long as the secret is accepted, through every restart. The secret does not follow from
 * the key.
 */
#pragma once

/* 43 characters of base64url, NUL-terminated. */
#define GRANT_KEY_SIZE 44

/* HMAC-SHA-256 of a label, with this text as its key. */
void grant_key_derive(const char *secret, char key[GRANT_KEY_SIZE]);
