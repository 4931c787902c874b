from django.contrib.auth.hashers import Argon2PasswordHasher


class Argon2Hasher(Argon2PasswordHasher):
    """Argon2id at OWASP's first recommended setting: strong, and a login costs 20 ms, not 600."""

    time_cost = 2
    memory_cost = 19 * 1024
    parallelism = 1
