//! Defines scripts that the server runs atomically.
//!
//! A script may run twice for one operation, because the answer may be lost with the connection.

use std::sync::LazyLock;

use redis::Cmd;

/// A script with a single key.
///
/// So it runs on one node of a cluster.
pub(super) struct Script {
    pub(super) code: String,
    /// The SHA-1 hash under which the server knows the script.
    pub(super) hash: String,
}

/// Returns the value and its remaining life if the node accepts writes.
///
/// A node that refuses writes may hold a rejected token that could not be replaced there. Such
/// nodes are replicas, primaries without enough replicas, and nodes that are full or cannot save.
/// `SET` with `NX` does not change an existing value, but such a node refuses the command.
///
/// The script can be repeated, because it changes nothing.
pub(super) static GET: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local value, left = read(KEYS[1])
        if not value then return false end
        return failed(redis.pcall('SET', KEYS[1], '', 'PX', 1, 'NX')) or {value, left}",
    )
});

/// Stores a value if the current value is the expected one.
///
/// The script can be repeated: the second run finds the value of the first run and stores it again.
pub(super) static REPLACE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local value, left = read(KEYS[1])
        if value ~= (ARGV[3] or false) and value ~= ARGV[1] then return 0 end
        local done = left == -1 and 2 or 1
        return failed(redis.pcall('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])) or done",
    )
});

/// Acquires or extends a lease.
///
/// The script can be repeated: the second run finds the lease with the same owner and extends it.
pub(super) static LOCK: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local owner = read(KEYS[1])
        if owner and owner ~= ARGV[1] then return 0 end
        return failed(redis.pcall('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])) or 1",
    )
});

/// Releases a lease.
///
/// The script can be repeated: the second run finds no lease, or one of another owner, which it
/// keeps.
pub(super) static UNLOCK: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if read(KEYS[1]) ~= ARGV[1] then return 0 end
        return failed(redis.pcall('DEL', KEYS[1])) or 1",
    )
});

/// Functions that the scripts share.
///
/// `read` returns the value of a key and its remaining life in milliseconds. It returns `false` if
/// there is no value, and `false` and -1 for a value that this store has not written.
///
/// `failed` returns the error reply of a command, or `false`. Before Redis 7, an error that a
/// script raises loses its code, so the scripts return errors instead. The error text begins with a
/// hyphen.
const FUNCTIONS: &str = "
    local function read(key)
        local value = redis.pcall('GET', key)
        if type(value) == 'table' then
            if string.find(value.err, 'WRONGTYPE', 1, true) then return false, -1 end
            value = redis.call('GET', key)
        end
        if not value then return false end
        if #value >= 4194304 then return false, -1 end
        local left = redis.call('PTTL', key)
        if left < 1 then return false, left end
        return value, left
    end

    local function failed(answer)
        if type(answer) ~= 'table' or not answer.err then return false end
        return redis.error_reply((string.gsub(answer.err, '^%-', '')))
    end
";

impl Script {
    fn new(code: &str) -> Self {
        let code = format!("{FUNCTIONS}{code}");
        let hash = redis::Script::new(&code).get_hash().to_owned();
        Self { code, hash }
    }

    pub(super) fn command(&self, name: &str, script: &str, key: &str, arguments: &[&[u8]]) -> Cmd {
        let mut command = redis::cmd(name);
        command.arg(script).arg(1).arg(key).arg(arguments);
        command
    }
}
