# A tree for BR2_EXTERNAL:
#
#   make BR2_EXTERNAL=/path/to/oom_guard/scripts/package/buildroot menuconfig
#
# and there "External options", "oom-guard". Or copy package/oom-guard into Buildroot's own tree, name it in
# package/Config.in, and say where the sources are: OOM_GUARD_OVERRIDE_SRCDIR in local.mk.
include $(sort $(wildcard $(BR2_EXTERNAL_OOM_GUARD_PATH)/package/*/*.mk))
