################################################################################
#
# oom-guard
#
################################################################################

OOM_GUARD_VERSION = 0.3.0
OOM_GUARD_SITE = $(realpath $(BR2_EXTERNAL_OOM_GUARD_PATH)/../../..)
OOM_GUARD_SITE_METHOD = local
OOM_GUARD_LICENSE = GPL-2.0
OOM_GUARD_LICENSE_FILES = LICENSE

# What cargo has built in the checkout, which may be gigabytes.
OOM_GUARD_OVERRIDE_SRCDIR_RSYNC_EXCLUSIONS = --exclude /target --exclude /tests/fuzz

# Buildroot sets these for programs of any kind. This one's pages stay in memory for good, so as in Cargo.toml it is to have
# few.
OOM_GUARD_CARGO_ENV = \
	CARGO_PROFILE_RELEASE_OPT_LEVEL=s \
	CARGO_PROFILE_RELEASE_LTO=true \
	CARGO_PROFILE_RELEASE_CODEGEN_UNITS=1

OOM_GUARD_FEATURES = \
	$(if $(BR2_PACKAGE_OOM_GUARD_PATTERNS),patterns) \
	$(if $(BR2_PACKAGE_OOM_GUARD_NOTIFY),dbus-notify)
OOM_GUARD_CARGO_BUILD_OPTS = \
	--no-default-features \
	--features "$(OOM_GUARD_FEATURES)"
OOM_GUARD_CARGO_INSTALL_OPTS = $(OOM_GUARD_CARGO_BUILD_OPTS)

# Crates are put beside sources that are downloaded. These are local, and cargo is called with --offline.
define OOM_GUARD_FETCH_CRATES
	cd $(OOM_GUARD_SRCDIR) && \
		$(TARGET_MAKE_ENV) $(PKG_CARGO_ENV) \
		cargo fetch --locked --target $(RUSTC_TARGET_NAME)
endef
OOM_GUARD_PRE_BUILD_HOOKS += OOM_GUARD_FETCH_CRATES

# $(1): mode, $(2): file of init/, $(3): where it goes. Files there name the program where "make install" would put it.
define OOM_GUARD_INSTALL_FITTED
	$(INSTALL) -D -m $(1) $(OOM_GUARD_SRCDIR)/init/$(2) $(TARGET_DIR)$(3)
	$(SED) 's|/usr/local/|/usr/|g' $(TARGET_DIR)$(3)
endef

define OOM_GUARD_INSTALL_SETTINGS
	$(call OOM_GUARD_INSTALL_FITTED,0644,oom_guard.conf,/etc/oom_guard.conf)
endef
OOM_GUARD_POST_INSTALL_TARGET_HOOKS += OOM_GUARD_INSTALL_SETTINGS

define OOM_GUARD_INSTALL_COMPLETION
	$(call OOM_GUARD_INSTALL_FITTED,0644,completions/oom_guard.bash,/usr/share/bash-completion/completions/oom_guard)
endef
ifeq ($(BR2_PACKAGE_BASH_COMPLETION),y)
OOM_GUARD_POST_INSTALL_TARGET_HOOKS += OOM_GUARD_INSTALL_COMPLETION
endif

# For --low-memory-signal.
define OOM_GUARD_INSTALL_POLICY
	$(call OOM_GUARD_INSTALL_FITTED,0644,dbus/oom_guard.conf,/usr/share/dbus-1/system.d/oom_guard.conf)
endef
ifeq "$(BR2_PACKAGE_OOM_GUARD_NOTIFY)" "y"
OOM_GUARD_POST_INSTALL_TARGET_HOOKS += OOM_GUARD_INSTALL_POLICY
endif

# After the system's log (S01), before the services that it is to guard the machine from. The script starts the guard
# again when it dies.
define OOM_GUARD_INSTALL_INIT_SYSV
	$(call OOM_GUARD_INSTALL_FITTED,0755,sysvinit/oom_guard,/etc/init.d/S15oom_guard)
endef

define OOM_GUARD_INSTALL_INIT_SYSTEMD
	$(call OOM_GUARD_INSTALL_FITTED,0644,systemd/oom_guard.service,/usr/lib/systemd/system/oom_guard.service)
endef

# OpenRC starts what a runlevel names.
define OOM_GUARD_INSTALL_INIT_OPENRC
	$(call OOM_GUARD_INSTALL_FITTED,0755,openrc/oom_guard,/etc/init.d/oom_guard)
	$(call OOM_GUARD_INSTALL_FITTED,0644,openrc/oom_guard.confd,/etc/conf.d/oom_guard)
	mkdir -p $(TARGET_DIR)/etc/runlevels/default
	ln -sf /etc/init.d/oom_guard $(TARGET_DIR)/etc/runlevels/default/oom_guard
endef

$(eval $(cargo-package))
