#![doc = include_str!("guide/contents.md")]

pub mod getting_started {
    #![doc = include_str!("guide/getting_started.md")]
}

pub mod choosing_limits {
    #![doc = include_str!("guide/choosing_limits.md")]
}

pub mod retries {
    #![doc = include_str!("guide/retries.md")]
}

pub mod circuit_breakers {
    #![doc = include_str!("guide/circuit_breakers.md")]
}

pub mod llm_apis {
    #![doc = include_str!("guide/llm_apis.md")]
}

pub mod testing {
    #![doc = include_str!("guide/testing.md")]
}

pub mod observing {
    #![doc = include_str!("guide/observing.md")]
}

pub mod configuration {
    #![doc = include_str!("guide/configuration.md")]
}

pub mod no_std {
    #![doc = include_str!("guide/no_std.md")]
}

pub mod cancel_safety {
    #![doc = include_str!("guide/cancel_safety.md")]
}

pub mod migrating {
    #![doc = include_str!("guide/migrating.md")]

    pub mod from_backon {
        #![doc = include_str!("guide/migrating/from_backon.md")]
    }

    pub mod from_failsafe {
        #![doc = include_str!("guide/migrating/from_failsafe.md")]
    }

    pub mod from_governor {
        #![doc = include_str!("guide/migrating/from_governor.md")]
    }

    pub mod from_reqwest_retry {
        #![doc = include_str!("guide/migrating/from_reqwest_retry.md")]
    }

    pub mod from_tokio_retry {
        #![doc = include_str!("guide/migrating/from_tokio_retry.md")]
    }

    pub mod from_tower {
        #![doc = include_str!("guide/migrating/from_tower.md")]
    }
}
