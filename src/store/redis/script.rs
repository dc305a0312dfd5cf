//! What is done on the server, in one step each.

use std::sync::LazyLock;

use redis::Cmd;

/// With one key, so that it runs on one node of a cluster.
pub(super) struct Script {
    pub(super) code: String,
    /// SHA-1, under which the server knows it.
    pub(super) hash: String,
}

pub(super) static GET: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local value, left = read(KEYS[1])
        return value and {value, left}",
    )
});

pub(super) static REPLACE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local value, left = read(KEYS[1])
        if value ~= (ARGV[3] or false) then return 0 end
        redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
        return left == -1 and 2 or 1",
    )
});

pub(super) static LOCK: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local owner = read(KEYS[1])
        if owner and owner ~= ARGV[1] then return 0 end
        redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
        return 1",
    )
});

pub(super) static UNLOCK: LazyLock<Script> = LazyLock::new(|| {
    Script::new("if read(KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end")
});

/// The value at a key and how many milliseconds it lives; false for nothing, and false with -1 for what this store has
/// not put there.
const READ: &str = "
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
";

impl Script {
    fn new(code: &str) -> Self {
        let code = format!("{READ}{code}");
        let hash = redis::Script::new(&code).get_hash().to_owned();
        Self { code, hash }
    }

    pub(super) fn command(&self, name: &str, script: &str, key: &str, arguments: &[&[u8]]) -> Cmd {
        let mut command = redis::cmd(name);
        command.arg(script).arg(1).arg(key).arg(arguments);
        command
    }
}
