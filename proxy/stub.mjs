// sst-live/1 stub
