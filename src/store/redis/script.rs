//! Scripts: what has to happen on the server in one step.
//!
//! Each script may run twice for one operation, because its answer may be lost with the connection.

use std::sync::LazyLock;

use redis::Cmd;

/// A script with one key, so that it runs on one node of a cluster.
pub(super) struct Script {
    pub(super) code: String,
    /// The SHA-1 hash under which the server knows the script.
    pub(super) hash: String,
}

/// Returns the value and its remaining life, if the node takes writes.
///
/// A node that refuses writes may hold a token that was rejected and could not be replaced there:
/// a replica, a primary without enough replicas, a node that is full or cannot save. `SET` with
/// `NX` changes nothing here, but such a node refuses it.
///
/// It can be repeated, because it changes nothing.
pub(super) static GET: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local value, left = read(KEYS[1])
        if not value then return false end
        return failed(redis.pcall('SET', KEYS[1], '', 'PX', 1, 'NX')) or {value, left}",
    )
});

/// Stores a value where the expected one is.
///
/// It can be repeated: the second run finds the value that the first one stored, and stores it again.
pub(super) static REPLACE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local value, left = read(KEYS[1])
        if value ~= (ARGV[3] or false) and value ~= ARGV[1] then return 0 end
        local done = left == -1 and 2 or 1
        return failed(redis.pcall('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])) or done",
    )
});

/// Takes a lease, or extends it.
///
/// It can be repeated: the second run finds the lease with its owner, and extends it.
pub(super) static LOCK: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local owner = read(KEYS[1])
        if owner and owner ~= ARGV[1] then return 0 end
        return failed(redis.pcall('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])) or 1",
    )
});

/// Releases a lease.
///
/// It can be repeated: the second run finds no lease, or one of another owner, which stays.
pub(super) static UNLOCK: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if read(KEYS[1]) ~= ARGV[1] then return 0 end
        return failed(redis.pcall('DEL', KEYS[1])) or 1",
    )
});

/// Functions that the scripts share.
///
/// `read` returns the value at a key and its remaining life in milliseconds; `false` if there is
/// nothing, and `false` and -1 for a value that this store did not put there.
///
/// `failed` returns the error that a command was answered with. Before Redis 7 an error that a
/// script raises loses its code, but not one that it returns; its text begins with a hyphen there.
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
