"""The parts that come with ganforge: each file a plugin that uses nothing but public names."""
